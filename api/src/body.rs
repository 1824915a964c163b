//! Bodies of writes: of a type that is taken, no larger than a bound, there within a deadline.

use axum::{body::Body as Stream, extract::Request};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use crate::{
    config::Body,
    problem::{Fault, Place, Problem, Subject},
};

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";

/// What a method takes, and the header that says so (RFC 5789 for PATCH; POST has its like in use).
#[derive(Debug, Clone, Copy)]
pub struct Accepts {
    types: &'static [&'static str],
    header: &'static str,
    list: &'static str,
}

/// A whole product.
pub const PRODUCT: Accepts = Accepts { types: &[JSON], header: "accept-post", list: JSON };
/// A patch of one. As plain JSON it means the same: nothing else could be meant.
pub const PATCH: Accepts =
    Accepts { types: &[MERGE_PATCH, JSON], header: "accept-patch", list: "application/merge-patch+json, application/json" };

/// Reads the body of a request.
///
/// # Errors
/// 415, 413 or 408; 400 where it is cut short.
pub async fn read(request: Request, accepts: Accepts, bounds: Body) -> Result<Bytes, Problem> {
    let (parts, stream) = request.into_parts();
    accepts.check(&parts.headers)?;
    // Told before the first byte is read: a caller who waits for `100 Continue` then never sends the body.
    let announced = parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > bounds.len_max as u64) {
        return Err(too_large(bounds));
    }
    match timeout(bounds.deadline, collect(stream, bounds)).await {
        Ok(collected) => collected,
        Err(_) => Err(Problem::new(Subject::Slow, format!("It was not there after {} ms.", bounds.deadline.as_millis()))),
    }
}

async fn collect(stream: Stream, bounds: Body) -> Result<Bytes, Problem> {
    match Limited::new(stream, bounds.len_max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if is_length_limit(error.as_ref()) => Err(too_large(bounds)),
        Err(error) => Err(Problem::new(Subject::Malformed, format!("The body did not come to its end: {error}."))),
    }
}

/// The limit's error may come wrapped in axum's.
fn is_length_limit(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| error.is::<LengthLimitError>())
}

fn too_large(bounds: Body) -> Problem {
    let detail = format!("A body may have {} bytes.", bounds.len_max);
    Problem::new(Subject::TooLarge, detail).with_header(header::CONNECTION, HeaderValue::from_static("close"))
}

impl Accepts {
    fn check(self, headers: &HeaderMap) -> Result<(), Problem> {
        let given = |name: HeaderName| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let media_type = given(header::CONTENT_TYPE);
        if !media_type.as_deref().is_some_and(|given| self.takes(given)) {
            let detail = if media_type.is_some() { "This type is not taken." } else { "The body has no type." };
            let fault = Fault::new(Place::Header("Content-Type"), media_type.as_deref(), detail, format!("Send {}.", self.list));
            let header = HeaderName::from_static(self.header);
            return Err(Problem::faulty(Subject::MediaType, vec![fault]).with_header(header, HeaderValue::from_static(self.list)));
        }
        if let Some(coding) = given(header::CONTENT_ENCODING).filter(|coding| !coding.eq_ignore_ascii_case("identity")) {
            let place = Place::Header("Content-Encoding");
            let fault = Fault::new(place, Some(&coding), "This coding is not taken.", "Send the body as it is.");
            let identity = HeaderValue::from_static("identity");
            return Err(Problem::faulty(Subject::MediaType, vec![fault]).with_header(header::ACCEPT_ENCODING, identity));
        }
        Ok(())
    }

    /// Whether a `Content-Type` is one of these, in UTF-8 where it names a charset: JSON has no other (RFC 8259, 8.1).
    fn takes(self, given: &str) -> bool {
        let mut parts = given.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default();
        let is_utf8 = |parameter: &str| match parameter.split_once('=') {
            Some((name, value)) if name.eq_ignore_ascii_case("charset") => value.trim_matches('"').eq_ignore_ascii_case("utf-8"),
            _ => true,
        };
        self.types.iter().any(|taken| media_type.eq_ignore_ascii_case(taken)) && parts.all(is_utf8)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("application/json", true)]
    #[case("Application/JSON; charset=UTF-8", true)]
    #[case("application/json;charset=\"utf-8\"", true)]
    #[case("application/json; charset=latin1", false)]
    #[case("application/merge-patch+json", false)]
    #[case("text/plain", false)]
    #[case("", false)]
    fn a_product_is_taken_as_json(#[case] given: &str, #[case] taken: bool) {
        assert_eq!(PRODUCT.takes(given), taken);
    }
}
