//! What caches of others may do with an answer: `Cache-Control`, `Vary`, and the names by which they can be told to drop it.
//!
//! The promise ends where somebody else's cache begins: nobody tells it of a change. So unless a route is set to be kept elsewhere, an
//! answer has to be asked about before it is used again. What was asked with a token is for that caller alone.

use std::fmt::Write;

use freshline::config::{Description, Reader, Setting};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::extract::Asked;

const PRODUCT_MAX_AGE: Setting<u32> = Setting::count(
    "API_PRODUCT_MAX_AGE_S",
    0..=86_400,
    "For how many seconds caches of others, such as a CDN's, may serve a product without asking (`max-age`); so much is added to its staleness. 0: \
     they ask each time.",
)
.or("0");

const LIST_MAX_AGE: Setting<u32> =
    Setting::count("API_LIST_MAX_AGE_S", 0..=86_400, "The same for lists of products and batches.").or("0");

const REVALIDATE: Setting<u32> = Setting::count(
    "API_STALE_WHILE_REVALIDATE_S",
    0..=86_400,
    "For how many seconds beyond that they may serve it while they ask (`stale-while-revalidate`, RFC 5861); so much is added once more.",
)
.or("0");

const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");

/// An answer asked for with a token is another, and so is one in another coding.
const VARY: HeaderValue = HeaderValue::from_static("accept-encoding, freshline-token");

const OF_TOKEN: HeaderValue = HeaderValue::from_static("private, no-store");
const NEVER: HeaderValue = HeaderValue::from_static("no-store");
const ASK: HeaderValue = HeaderValue::from_static("no-cache");

/// What stands as it is in the name of a tag: neither a blank nor a comma, which would end it.
const NAME: AsciiSet = NON_ALPHANUMERIC.remove(b':').remove(b'=').remove(b'-').remove(b'_').remove(b'.').remove(b'%');

/// The names of one answer, in bytes: more than this some caches refuse, with the answer (16 KB, for all headers of it).
const NAMES_LEN_MAX: usize = 6_000;

/// What may be done with the answers of each route.
#[derive(Debug, Clone)]
pub struct Caching {
    /// One product.
    pub product: Policy,
    /// Several.
    pub list: Policy,
}

/// What may be done with the answers of a route.
#[derive(Debug, Clone)]
pub struct Policy {
    /// `Cache-Control` of what caches of others may keep; `None` where they have to ask.
    kept: Option<HeaderValue>,
}

impl Caching {
    /// The settings that [`Caching::read`] reads.
    pub const SETTINGS: [Description; 3] = [PRODUCT_MAX_AGE.describe(), LIST_MAX_AGE.describe(), REVALIDATE.describe()];

    /// Reads them; `None` where one has a fault, which the reader keeps.
    pub fn read(read: &mut Reader<'_>) -> Option<Self> {
        let (product, list, revalidate) = (read.get(&PRODUCT_MAX_AGE), read.get(&LIST_MAX_AGE), read.get(&REVALIDATE));
        let revalidate = revalidate?;
        Some(Self { product: Policy::new(product?, revalidate), list: Policy::new(list?, revalidate) })
    }
}

impl Policy {
    /// What caches of others may serve for so many seconds, and for so many more while they ask.
    fn new(max_age: u32, revalidate: u32) -> Self {
        let text = match (max_age, revalidate) {
            (0, 0) => return Self { kept: None },
            (_, 0) => format!("public, max-age={max_age}"),
            _ => format!("public, max-age={max_age}, stale-while-revalidate={revalidate}"),
        };
        Self { kept: HeaderValue::try_from(text).ok() }
    }

    /// Says in the headers of an answer what may be done with it; `names` are those of the tags and keys that it depends on, asked for
    /// where they are told.
    pub fn tell(&self, asked: &Asked, names: impl IntoIterator<Item = String>, headers: &mut HeaderMap) {
        headers.insert(header::VARY, VARY);
        let value = match &self.kept {
            _ if asked.want.token.is_some() => OF_TOKEN,
            _ if asked.want.explain => NEVER,
            None => ASK,
            Some(kept) => {
                tell_names(names, headers);
                kept.clone()
            }
        };
        headers.insert(header::CACHE_CONTROL, value);
    }
}

/// `Cache-Tag`, with commas, and `Surrogate-Key`, with blanks, as caches of either kind read them. The first name is that of the whole:
/// who has more of them than fit can be dropped by it.
fn tell_names(names: impl IntoIterator<Item = String>, headers: &mut HeaderMap) {
    let mut tags = String::new();
    for name in names {
        let before = tags.len();
        let comma = if before == 0 { "" } else { "," };
        let written = write!(tags, "{comma}{}", utf8_percent_encode(&name, &NAME));
        if written.is_err() || tags.len() > NAMES_LEN_MAX {
            tags.truncate(before);
            break;
        }
    }
    let keys = tags.replace(',', " ");
    for (name, value) in [(CACHE_TAG, tags), (SURROGATE_KEY, keys)] {
        // It is visible ASCII.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use freshline::cache::Want;

    use super::*;

    fn told(policy: &Policy, want: Want, names: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        policy.tell(&Asked { want, ..Asked::default() }, names.iter().map(|name| (*name).to_owned()), &mut headers);
        headers
    }

    fn kept() -> Policy {
        Policy::new(5, 30)
    }

    #[test]
    fn others_keep_what_they_are_told_to_and_ask_about_the_rest() {
        let asks = Policy::new(0, 0);
        assert_eq!(told(&asks, Want::default(), &["a"])[header::CACHE_CONTROL], "no-cache");
        assert!(!told(&asks, Want::default(), &["a"]).contains_key(CACHE_TAG), "nobody keeps it");
        let headers = told(&kept(), Want::default(), &["products:1", "products:category=a, b"]);
        assert_eq!(headers[header::CACHE_CONTROL], "public, max-age=5, stale-while-revalidate=30");
        assert_eq!(headers[CACHE_TAG], "products:1,products:category=a%2C%20b");
        assert_eq!(headers[SURROGATE_KEY], "products:1 products:category=a%2C%20b");
        assert_eq!(Policy::new(5, 0).kept.expect("kept"), "public, max-age=5");
    }

    #[test]
    fn an_answer_for_one_caller_is_kept_by_nobody() {
        let token = "7412345678901234567/1/1763719200000000:841:0/16B3748".parse().ok();
        assert!(token.is_some(), "it is a token");
        assert_eq!(told(&kept(), Want { token, ..Want::default() }, &["a"])[header::CACHE_CONTROL], "private, no-store");
        assert_eq!(told(&kept(), Want { explain: true, ..Want::default() }, &["a"])[header::CACHE_CONTROL], "no-store");
    }

    #[test]
    fn names_that_do_not_fit_are_left_out_from_the_end() {
        let names = vec!["0123456789"; 1_000];
        let headers = told(&kept(), Want::default(), &names);
        let (tags, keys) = (&headers[CACHE_TAG], &headers[SURROGATE_KEY]);
        assert!(tags.len() <= NAMES_LEN_MAX && tags.len() == keys.len() && tags.len() > NAMES_LEN_MAX - 20, "{}", tags.len());
    }
}
