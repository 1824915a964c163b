//! Why NATS does not let us in, and what mends it.

use std::{error::Error, path::PathBuf};

use async_nats::{ConnectError, ConnectErrorKind};

use crate::fault::{Classified, Kind};

/// Why there is no connection to NATS.
#[derive(Debug, thiserror::Error)]
pub enum NatsRefusal {
    /// The file cannot be read, or holds no credentials.
    #[error("{} cannot be used to log in to NATS", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The server does not know who we say we are, or that cannot be said.
    #[error("NATS at {url} does not let this user in")]
    Login {
        /// Where it was tried.
        url: String,
        /// Which settings say who asks.
        settings: &'static str,
        /// Why.
        #[source]
        cause: ConnectError,
    },
    /// One side does not trust the other's certificate, or a file of ours cannot be used.
    #[error("there is no trust between this client and NATS at {url}")]
    Tls {
        /// Where it was tried.
        url: String,
        /// Why.
        #[source]
        cause: ConnectError,
    },
    /// No server let us in.
    #[error("no connection to NATS at {url}")]
    Connect {
        /// Where it was tried.
        url: String,
        /// Why.
        #[source]
        cause: ConnectError,
    },
}

impl NatsRefusal {
    /// What it means that no connection was made there, by somebody who logs in by these settings.
    pub(super) fn of(url: String, settings: &'static str, cause: ConnectError) -> Self {
        match cause.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => Self::Login { url, settings, cause },
            ConnectErrorKind::Tls => Self::Tls { url, cause },
            _ if is_distrust(&cause) => Self::Tls { url, cause },
            _ => Self::Connect { url, cause },
        }
    }
}

/// Whether a handshake ended because a certificate is not what it has to be, here or there. It may also end because the server does.
fn is_distrust(error: &ConnectError) -> bool {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        // rustls's error travels inside an I/O error, which does not count it among its sources.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let tls = error.downcast_ref().or_else(|| inner?.downcast_ref());
        if let Some(rustls::Error::InvalidCertificate(_) | rustls::Error::AlertReceived(_)) = tls {
            return true;
        }
        next = error.source();
    }
    false
}

impl Classified for NatsRefusal {
    fn kind(&self) -> Kind {
        match self {
            Self::Credentials { .. } | Self::Login { .. } | Self::Tls { .. } => Kind::Permanent,
            Self::Connect { cause, .. } if cause.kind() == ConnectErrorKind::ServerParse => Kind::Permanent,
            Self::Connect { .. } => Kind::Transient,
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Credentials { .. } => "write the path of a credentials file into FRESHLINE_NATS_CREDENTIALS".to_owned(),
            Self::Login { settings, .. } => format!("check {settings}, and that the server knows them"),
            Self::Tls { .. } => {
                "name the authority that signed the server's certificate in FRESHLINE_NATS_TLS_CA, and the server in \
                                 FRESHLINE_NATS_URL as its certificate does; if it asks for ours, set FRESHLINE_NATS_TLS_CERT and \
                                 FRESHLINE_NATS_TLS_KEY; what has expired has to be renewed"
                    .to_owned()
            }
            Self::Connect { .. } => {
                "check FRESHLINE_NATS_URL and that a server listens there, with TLS if it begins with tls://".to_owned()
            }
        })
    }
}
