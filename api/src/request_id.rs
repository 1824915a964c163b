//! The id of a request: the caller's own where it sends one, else a new one. The answer carries it, and so does whatever the log tells of a
//! failure.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::{Uuid, fmt::Hyphenated};

/// The header that carries it, both ways.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A longer one of a caller's is replaced, in bytes: it goes into every line that tells of the request.
const LEN_MAX: usize = 128;

tokio::task_local! {
    /// That of the request which this task answers.
    static CURRENT: RequestId;
}

/// The id of a request: visible ASCII without blanks.
#[derive(Debug, Clone)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The caller's, where it can be used; else a new one.
    pub fn of(headers: &HeaderMap) -> Self {
        let is_usable = |id: &&HeaderValue| (1..=LEN_MAX).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic);
        headers.get(REQUEST_ID).filter(is_usable).map_or_else(Self::new, |id| Self(id.clone()))
    }

    /// A new one, of which later ones sort behind earlier ones.
    fn new() -> Self {
        let mut text = [0; Hyphenated::LENGTH];
        let text = Uuid::now_v7().hyphenated().encode_lower(&mut text);
        Self(HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("none")))
    }

    /// That of the request which is being answered; outside of any, a new one.
    pub fn current() -> Self {
        CURRENT.try_with(Clone::clone).unwrap_or_else(|_| Self::new())
    }

    /// Answers a request under this id.
    pub async fn scope<F: Future>(self, answering: F) -> F::Output {
        CURRENT.scope(self, answering).await
    }

    /// As a header.
    pub fn value(&self) -> HeaderValue {
        self.0.clone()
    }

    /// As the `instance` of a problem (RFC 9457, 3.1.5), a URI.
    pub fn instance(&self) -> String {
        let text = self.to_string();
        match Uuid::try_parse(&text) {
            Ok(id) => format!("urn:uuid:{id}"),
            Err(_) => {
                let text = percent_encoding::utf8_percent_encode(&text, percent_encoding::NON_ALPHANUMERIC);
                format!("urn:freshline:request:{text}")
            }
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_str().unwrap_or("none"))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn of(given: &[u8]) -> RequestId {
        RequestId::of(&HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_bytes(given).expect("a value"))]))
    }

    #[test]
    fn the_caller_may_choose_it() {
        let id = of(b"cart/42?a=\"b\"");
        assert_eq!(id.to_string(), "cart/42?a=\"b\"");
        assert_eq!(id.instance(), "urn:freshline:request:cart%2F42%3Fa%3D%22b%22");
    }

    #[rstest]
    #[case::empty(b"")]
    #[case::blanks(b"two words")]
    #[case::not_ascii("\u{e9}".as_bytes())]
    #[case::long(&[b'x'; LEN_MAX + 1])]
    fn what_would_spoil_a_log_is_replaced(#[case] given: &[u8]) {
        let id = of(given);
        assert_eq!(id.instance(), format!("urn:uuid:{id}"));
        assert!(Uuid::try_parse(&id.to_string()).is_ok_and(|id| id.get_version_num() == 7));
    }

    #[tokio::test]
    async fn whoever_answers_knows_it() {
        let id = RequestId::new();
        let seen = id.clone().scope(async { RequestId::current().to_string() }).await;
        assert_eq!(seen, id.to_string());
        assert_ne!(RequestId::current().to_string(), id.to_string());
    }
}
