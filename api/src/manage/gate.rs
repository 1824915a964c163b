//! Who may manage: whoever shows the token, where one is set.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, header};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use crate::problem::{Fault, Place, Problem, Subject};

/// The token that has to be shown; none where management is open to all that reach it.
#[derive(Debug, Clone)]
pub struct Gate(pub Option<SecretString>);

/// Lets a request through, or answers 401.
pub async fn pass(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    match gate.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

impl Gate {
    fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(token) = &self.0 else { return Ok(()) };
        let mut shown = headers.get_all(header::AUTHORIZATION).iter();
        match (shown.next().map(bearer), shown.next()) {
            (None, _) => Err(refused("Bearer realm=\"freshline\"", "Nothing is shown.")),
            // In a time that tells nothing of the token but its length.
            (Some(Some(shown)), None) if bool::from(shown.ct_eq(token.expose_secret().as_bytes())) => Ok(()),
            _ => Err(refused("Bearer realm=\"freshline\", error=\"invalid_token\"", "This is not the token.")),
        }
    }
}

/// What stands behind `Bearer` (RFC 6750, 2.1); the scheme is written in any case.
fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = value.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// The value that was shown is not repeated: it may be a secret of somebody's.
fn refused(challenge: &'static str, detail: &'static str) -> Problem {
    let fault = Fault::new(
        Place::Header("Authorization"),
        None,
        detail,
        "Send `Authorization: Bearer` and the token of FRESHLINE_API_MANAGE_TOKEN.",
    );
    let challenge = HeaderValue::from_static(challenge);
    Problem::faulty(Subject::Unauthorized, vec![fault]).with_header(header::WWW_AUTHENTICATE, challenge)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(&["Bearer 0123456789abcdef"], true)]
    #[case(&["bearer  0123456789abcdef "], true)]
    #[case(&[], false)]
    #[case(&["Bearer 0123456789abcdeF"], false)]
    #[case(&["Bearer 0123456789abcdef0"], false)]
    #[case(&["Bearer "], false)]
    #[case(&["Basic 0123456789abcdef"], false)]
    #[case(&["0123456789abcdef"], false)]
    #[case(&["Bearer 0123456789abcdef", "Bearer 0123456789abcdef"], false)]
    fn the_token_alone_opens_the_gate(#[case] shown: &[&'static str], #[case] passes: bool) {
        let gate = Gate(Some("0123456789abcdef".to_owned().into()));
        let mut headers = HeaderMap::new();
        for value in shown {
            headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
        }
        assert_eq!(gate.check(&headers).is_ok(), passes);
        assert!(Gate(None).check(&headers).is_ok());
    }
}
