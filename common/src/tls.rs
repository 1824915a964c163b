//! Why a server is not trusted, or does not trust us, and which setting mends it.

use std::{error::Error, io, sync::Arc};

use rustls::{AlertDescription, CertificateError, Error as Cause};

/// The settings that decide about TLS with one server, as a remedy names them.
#[derive(Debug, Clone, Copy)]
pub struct TlsSettings {
    /// Where the server is.
    pub url: &'static str,
    /// Whom to trust.
    pub authority: &'static str,
    /// Who we are.
    pub own: &'static str,
}

/// Those of Postgres.
pub const POSTGRES: TlsSettings = TlsSettings {
    url: "FRESHLINE_DATABASE_URL",
    authority: "sslrootcert in FRESHLINE_DATABASE_URL",
    own: "sslcert and sslkey in FRESHLINE_DATABASE_URL",
};

/// Those of Redis.
pub const REDIS: TlsSettings = TlsSettings {
    url: "FRESHLINE_REDIS_URL",
    authority: "FRESHLINE_REDIS_CA_FILE",
    own: "FRESHLINE_REDIS_CERTIFICATE_FILE and FRESHLINE_REDIS_KEY_FILE",
};

/// What TLS says in the chain of an error, where it is about TLS.
pub fn cause_of<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e Cause> {
    if let Some(cause) = error.downcast_ref::<Cause>() {
        return Some(cause);
    }
    // Neither of these shows what is in it as its source.
    let within: Option<&(dyn Error + 'static)> = match (error.downcast_ref::<io::Error>(), error.downcast_ref::<Shared>()) {
        (Some(error), _) => error.get_ref().map(|within| within as _),
        (None, Some(error)) => Some(&**error as _),
        (None, None) => error.source(),
    };
    cause_of(within?)
}

/// How the redis crate keeps a cause.
type Shared = Arc<dyn Error + Send + Sync>;

impl TlsSettings {
    /// What mends it.
    pub fn remedy(&self, cause: &Cause) -> String {
        let Self { url, authority, own } = self;
        match cause {
            Cause::InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) => {
                format!("name the server in {url} as its certificate does, or have its certificate made for that name")
            }
            Cause::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
                format!("renew the certificate of the server that {url} names, or set this machine's clock")
            }
            Cause::InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
                format!("set this machine's clock, or that of the server that {url} names when its certificate was made")
            }
            Cause::InvalidCertificate(CertificateError::UnknownIssuer) => {
                format!("set {authority} to the certificate of the authority that signed the server's")
            }
            Cause::AlertReceived(AlertDescription::UnknownCA | AlertDescription::CertificateRequired)
            | Cause::AlertReceived(AlertDescription::BadCertificate | AlertDescription::CertificateUnknown)
            | Cause::AlertReceived(AlertDescription::CertificateExpired | AlertDescription::UnsupportedCertificate) => {
                format!("set {own} to a certificate that the server trusts, and its key")
            }
            _ => format!("let {url} name a port at which the server speaks TLS, and check {authority} and {own}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("no connection")]
    struct Outer(#[source] io::Error);

    #[test]
    fn a_cause_is_found_however_it_is_wrapped() {
        let cause = || Cause::InvalidCertificate(CertificateError::Expired);
        let error = Outer(io::Error::new(io::ErrorKind::InvalidData, cause()));
        assert_eq!(cause_of(&error), Some(&cause()));
        let error: redis::RedisError = io::Error::new(io::ErrorKind::InvalidData, cause()).into();
        assert_eq!(cause_of(&error), Some(&cause()));
        let error = sqlx::Error::Tls(Box::new(cause()));
        assert_eq!(cause_of(&error), Some(&cause()));
        assert_eq!(cause_of(&Outer(io::ErrorKind::ConnectionReset.into())), None);
    }

    #[rstest]
    #[case(
        Cause::InvalidCertificate(CertificateError::NotValidForName),
        "name the server in FRESHLINE_REDIS_URL as its certificate"
    )]
    #[case(Cause::InvalidCertificate(CertificateError::Expired), "renew the certificate")]
    #[case(Cause::InvalidCertificate(CertificateError::UnknownIssuer), "set FRESHLINE_REDIS_CA_FILE to")]
    #[case(Cause::AlertReceived(AlertDescription::CertificateRequired), "set FRESHLINE_REDIS_CERTIFICATE_FILE and")]
    #[case(Cause::DecryptError, "a port at which the server speaks TLS")]
    fn a_remedy_names_the_setting(#[case] cause: Cause, #[case] told: &str) {
        assert!(REDIS.remedy(&cause).contains(told), "{}", REDIS.remedy(&cause));
    }
}
