//! Content codings (RFC 9110, 8.4): which one a caller takes, and the body in it.
//!
//! A short body fits one packet as it is, and is never coded: a read of one product pays nothing for this. A coded body is another
//! representation, so it has a validator of its own: that of the body, and the coding behind it.

use std::io::Write;

use bytes::Bytes;
use freshline::coherence::ETag;
use http::HeaderValue;

/// A body shorter than this goes out as it is, in bytes: what a packet carries, about.
const CODED_LEN_MIN: usize = 1_400;

/// How hard each tries: where more of it makes the body hardly smaller, and takes far longer. A page of 20 products takes less than 0.2 ms.
const ZSTD_LEVEL: i32 = 3;
const BROTLI_LEVEL: u32 = 4;
const GZIP_LEVEL: flate2::Compression = flate2::Compression::new(5);

/// How far brotli looks back, as the exponent of 2: the largest page fits.
const BROTLI_WINDOW: u32 = 18;

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// `zstd` (RFC 8878).
    Zstd,
    /// `br` (RFC 7932).
    Brotli,
    /// `gzip` (RFC 1952).
    Gzip,
}

impl Coding {
    /// In the order that we like them: what is as good for the caller costs us least.
    const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// Its name in headers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// The coding for a body of this length: what the caller likes best, if it likes any better than none.
    pub fn of(accepts: Option<&HeaderValue>, body_len: usize) -> Option<Self> {
        if body_len < CODED_LEN_MIN {
            return None;
        }
        let accepts = Accepts(accepts?.to_str().ok()?);
        let best = Self::ALL.into_iter().rev().max_by_key(|coding| accepts.weight(coding.as_str()))?;
        let weight = accepts.weight(best.as_str());
        (weight > 0 && weight >= accepts.weight("identity")).then_some(best)
    }

    /// The body in this coding.
    ///
    /// # Errors
    /// If the coder fails, as none should on memory.
    pub fn code(self, body: &Bytes) -> std::io::Result<Vec<u8>> {
        let out = Vec::with_capacity(body.len() / 4);
        match self {
            Self::Zstd => zstd::bulk::compress(body, ZSTD_LEVEL),
            Self::Gzip => {
                let mut coder = flate2::write::GzEncoder::new(out, GZIP_LEVEL);
                coder.write_all(body)?;
                coder.finish()
            }
            Self::Brotli => {
                let mut coder = brotli::CompressorWriter::new(out, body.len().max(4_096), BROTLI_LEVEL, BROTLI_WINDOW);
                coder.write_all(body)?;
                Ok(coder.into_inner())
            }
        }
    }

    /// The validator of a body in this coding.
    pub fn etag(coding: Option<Self>, etag: ETag) -> String {
        let plain = etag.to_string();
        match coding {
            None => plain,
            Some(coding) => format!("{}-{}\"", plain.trim_end_matches('"'), coding.as_str()),
        }
    }

    /// The body that a validator is of, whatever its coding; `None` for a weak one and for another's.
    pub fn body_of(etag: &str) -> Option<ETag> {
        let ending = Self::ALL.iter().find_map(|coding| etag.strip_suffix('"')?.strip_suffix(coding.as_str())?.strip_suffix('-'));
        match ending {
            None => etag.parse().ok(),
            Some(plain) => format!("{plain}\"").parse().ok(),
        }
    }
}

/// The text of `Accept-Encoding` (RFC 9110, 12.5.3).
struct Accepts<'a>(&'a str);

impl Accepts<'_> {
    /// How much the caller likes a coding, in thousandths. What is not named is not taken, but for none, which may always be sent.
    fn weight(&self, coding: &str) -> u16 {
        let named = |name: &str| {
            let mut parts = self.0.split(',').map(|part| part.split_once(';').unwrap_or((part, "")));
            parts.find(|(part, _)| part.trim().eq_ignore_ascii_case(name)).map(|(_, weight)| thousandths(weight))
        };
        let otherwise = if coding == "identity" { 1 } else { 0 };
        named(coding).or_else(|| named("*")).unwrap_or(otherwise)
    }
}

/// The weight behind a name: 1 where there is none, 0 where it cannot be read.
fn thousandths(weight: &str) -> u16 {
    let Some(weight) = weight.trim().strip_prefix(['q', 'Q']).map(str::trim_start).and_then(|weight| weight.strip_prefix('='))
    else {
        return if weight.trim().is_empty() { 1_000 } else { 0 };
    };
    match weight.trim().parse::<f32>() {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it lies between 0 and 1,000")]
        Ok(weight) if (0.0..=1.0).contains(&weight) => (weight * 1_000.0) as u16,
        Ok(_) | Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::nothing_said(None, None)]
    #[case::nothing_taken(Some(""), None)]
    #[case::only_one(Some("gzip"), Some(Coding::Gzip))]
    #[case::a_browser(Some("gzip, deflate, br, zstd"), Some(Coding::Zstd))]
    #[case::an_older_browser(Some("gzip, deflate, br"), Some(Coding::Brotli))]
    #[case::by_weight(Some("zstd;q=0.1, gzip ; q=0.8, br;q=0.2"), Some(Coding::Gzip))]
    #[case::anything(Some("*"), Some(Coding::Zstd))]
    #[case::anything_but(Some("zstd;q=0, *;q=0.5"), Some(Coding::Brotli))]
    #[case::refused(Some("gzip;q=0"), None)]
    #[case::better_not(Some("gzip;q=0.5, identity"), None)]
    #[case::unknown(Some("deflate, compress"), None)]
    #[case::nonsense(Some("gzip;q=x, br;level=3;;, zstd;q=2"), None)]
    fn the_caller_says_what_it_takes(#[case] accepts: Option<&'static str>, #[case] expected: Option<Coding>) {
        let accepts = accepts.map(HeaderValue::from_static);
        assert_eq!(Coding::of(accepts.as_ref(), CODED_LEN_MIN), expected);
        assert_eq!(Coding::of(accepts.as_ref(), CODED_LEN_MIN - 1), None, "it is short");
    }

    #[test]
    fn each_coding_has_a_validator_of_its_own_and_all_are_of_one_body() {
        let plain = ETag::of(b"body");
        let codings = [None, Some(Coding::Zstd), Some(Coding::Brotli), Some(Coding::Gzip)];
        let etags = codings.map(|coding| Coding::etag(coding, plain));
        let different: std::collections::BTreeSet<_> = etags.iter().collect();
        assert_eq!(different.len(), codings.len());
        assert!(etags.iter().all(|etag| Coding::body_of(etag) == Some(plain)), "{etags:?}");
        for other in ["", "\"\"", "W/\"1\"", &format!("W/{}", etags[1]), "\"0123-gzip\"", "-gzip\""] {
            assert_eq!(Coding::body_of(other), None, "{other}");
        }
    }
}
