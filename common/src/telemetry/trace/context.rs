//! Which span something belongs to, as W3C's Trace Context writes it in the header `traceparent`.

use std::fmt;

use uuid::Uuid;

/// How long a `traceparent` of version 00 is.
const LEN: usize = 55;

/// A sampled span, by its ids. Neither is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanContext {
    /// The trace that it is in.
    pub trace: u128,
    /// The span.
    pub span: u64,
}

/// What a `traceparent` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parent {
    /// Nothing: there is none, or it cannot be read, which W3C treats alike.
    Unknown,
    /// Not to be traced.
    Unsampled,
    /// To be traced, as a part of this.
    Sampled(SpanContext),
}

impl SpanContext {
    /// The first span of a new trace.
    pub(super) fn root() -> Self {
        Self::of(new_trace())
    }

    /// Another span of the same trace.
    pub(super) fn sibling(self) -> Self {
        Self::of(self.trace)
    }

    /// A new span of this trace.
    pub(super) fn of(trace: u128) -> Self {
        Self { trace, span: new_span() }
    }

    /// The sampled span that a `traceparent` names; `None` where it names none.
    pub fn parse(text: &[u8]) -> Option<Self> {
        match Parent::parse(text) {
            Parent::Sampled(context) => Some(context),
            Parent::Unknown | Parent::Unsampled => None,
        }
    }
}

/// The id of a new trace: its low 62 bits are random, and never all zero.
pub(super) fn new_trace() -> u128 {
    Uuid::new_v4().as_u128()
}

/// The half of a random UUID that has 62 random bits, and never only zeros.
fn new_span() -> u64 {
    Uuid::new_v4().as_u64_pair().1
}

impl fmt::Display for SpanContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-01", self.trace, self.span)
    }
}

impl Parent {
    /// Reads a `traceparent`. Of a later version as much as version 00 has, as W3C asks for.
    pub fn parse(text: &[u8]) -> Self {
        Self::read(text).unwrap_or(Self::Unknown)
    }

    fn read(text: &[u8]) -> Option<Self> {
        let head = std::str::from_utf8(text.get(..LEN)?).ok()?;
        let mut parts = head.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_longer = text.len() > LEN;
        if version == "ff" || (is_longer && (version == "00" || text[LEN] != b'-')) || parts.next().is_some() {
            return None;
        }
        hex(version, 2)?;
        let (trace, span, flags) = (hex(trace, 32)?, hex(span, 16)?, hex(flags, 2)?);
        let context = SpanContext { trace, span: u64::try_from(span).ok()? };
        match (context.trace, context.span) {
            (0, _) | (_, 0) => None,
            _ if flags & 1 == 1 => Some(Self::Sampled(context)),
            _ => Some(Self::Unsampled),
        }
    }
}

/// So many lower-case hexadecimal digits.
fn hex(text: &str, len: usize) -> Option<u128> {
    let is_hex = text.len() == len && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_hex.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    #[rstest]
    #[case::sampled("00-TRACE-SPAN-01", true)]
    #[case::with_flags_of_tomorrow("00-TRACE-SPAN-09", true)]
    #[case::of_a_later_version("cc-TRACE-SPAN-01-what-comes-then", true)]
    #[case::not_sampled("00-TRACE-SPAN-00", false)]
    fn a_traceparent_tells_whether_to_trace(#[case] header: &str, #[case] is_sampled: bool) {
        let context = SpanContext { trace: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, span: 0x00f0_67aa_0ba9_02b7 };
        let wanted = if is_sampled { Parent::Sampled(context) } else { Parent::Unsampled };
        assert_eq!(Parent::parse(header.replace("TRACE", TRACE).replace("SPAN", SPAN).as_bytes()), wanted);
    }

    #[rstest]
    #[case("")]
    #[case("00-TRACE-SPAN")]
    #[case("ff-TRACE-SPAN-01")]
    #[case("00-TRACE-SPAN-01-more")]
    #[case("cc-TRACE-SPAN-01more")]
    #[case("00-00000000000000000000000000000000-SPAN-01")]
    #[case("00-TRACE-0000000000000000-01")]
    #[case("00-4BF92F3577B34DA6A3CE929D0E0E4736-SPAN-01")]
    #[case("00-TRACE-+0f067aa0ba902b7-01")]
    #[case("00-TRACE-SPAN-0ü")]
    fn what_is_no_traceparent_is_as_none(#[case] header: &str) {
        assert_eq!(Parent::parse(header.replace("TRACE", TRACE).replace("SPAN", SPAN).as_bytes()), Parent::Unknown);
    }

    #[test]
    fn what_is_written_is_read() {
        let (root, header) = (SpanContext::root(), SpanContext::root().to_string());
        assert_eq!(header.len(), LEN);
        assert_eq!(SpanContext::parse(root.to_string().as_bytes()), Some(root));
        assert_eq!((root.sibling().trace, root.sibling().span != root.span), (root.trace, true));
    }
}
