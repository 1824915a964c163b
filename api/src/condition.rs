//! Conditions on what a caller has seen (RFC 9110, 13.1): a read is not sent again, a write happens only if nothing has changed since.

use freshline::coherence::ETag;
use http::{HeaderMap, HeaderValue, header};

use crate::coding::Coding;

/// More validators than this in one header are not looked at: a caller has one, or a few from several codings.
const SEEN_MAX: usize = 64;

/// Whether the caller has this body already, in whatever coding (`If-None-Match`).
pub fn is_known(if_none_match: Option<&HeaderValue>, etag: ETag) -> bool {
    let Some(known) = if_none_match.and_then(|value| value.to_str().ok()) else { return false };
    let is_this = |known: &str| Coding::body_of(known.strip_prefix("W/").unwrap_or(known)) == Some(etag);
    known.trim() == "*" || each(known).any(is_this)
}

/// The bodies of which a writer has seen one (`If-Match`); `None` where any is as good. A weak validator, and another's, is that of none.
pub fn seen(headers: &HeaderMap) -> Option<Vec<ETag>> {
    let mut seen: Option<Vec<ETag>> = None;
    for value in headers.get_all(header::IF_MATCH) {
        let value = value.to_str().unwrap_or_default();
        if value.trim() == "*" {
            return None;
        }
        seen.get_or_insert_default().extend(each(value).filter_map(Coding::body_of));
    }
    seen
}

fn each(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).take(SEEN_MAX)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn header(text: &str) -> HeaderValue {
        HeaderValue::try_from(text.replace("ETAG", ETag::of(b"{}").to_string().trim_matches('"'))).expect("visible")
    }

    #[rstest]
    #[case(None, false)]
    #[case(Some("*"), true)]
    #[case(Some("\"other\""), false)]
    #[case(Some("\"other\", W/\"ETAG\""), true)]
    #[case(Some("\"ETAG\""), true)]
    #[case(Some("\"ETAG-br\""), true)]
    fn a_caller_who_has_it_is_not_sent_it_again(#[case] if_none_match: Option<&str>, #[case] known: bool) {
        assert_eq!(is_known(if_none_match.map(header).as_ref(), ETag::of(b"{}")), known);
    }

    #[rstest]
    #[case::any(&["*"], None)]
    #[case::none(&[], None)]
    #[case::one(&["\"ETAG\""], Some(1))]
    #[case::coded(&["\"ETAG-gzip\", \"ETAG\""], Some(2))]
    #[case::weak(&["W/\"ETAG\""], Some(0))]
    #[case::not_ours(&["\"x\", y"], Some(0))]
    #[case::several_headers(&["\"x\"", "\"ETAG\""], Some(1))]
    fn a_writer_says_what_it_has_seen(#[case] values: &[&str], #[case] count: Option<usize>) {
        let headers = values.iter().map(|value| (header::IF_MATCH, header(value))).collect::<HeaderMap>();
        assert_eq!(seen(&headers).map(|seen| seen.len()), count);
    }
}
