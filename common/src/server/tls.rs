//! TLS for those who connect to us: a certificate and its key, read once at the start.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ServerConfig,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
};
use tokio_rustls::TlsAcceptor;

use crate::fault::{Classified, Kind};

/// What speaks TLS to callers: versions 1.2 and 1.3, HTTP/1.1 alone. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    pub(super) acceptor: TlsAcceptor,
}

/// Why TLS cannot be spoken.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    /// The certificate's file cannot be read, or holds none.
    #[error("{path} holds no certificate that can be read")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: pem::Error,
    },
    /// The key's file cannot be read, or holds none.
    #[error("{path} holds no key that can be read")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: pem::Error,
    },
    /// They do not belong together, or cannot be used.
    #[error("the certificate in {certificate} and the key in {key} cannot be used together")]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's.
        key: PathBuf,
        /// Why.
        #[source]
        cause: rustls::Error,
    },
}

impl Classified for TlsFault {
    fn kind(&self) -> Kind {
        match self {
            Self::Certificate { .. } | Self::Key { .. } | Self::Pair { .. } => Kind::Permanent,
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Certificate { .. } => "name a file with the certificate and those that it leads to, as PEM".to_owned(),
            Self::Key { .. } => "name a file with the key as PEM, without a password, that this process may read".to_owned(),
            Self::Pair { .. } => "name the key that the certificate was made for".to_owned(),
        })
    }
}

impl Tls {
    /// With the certificate and key in these files.
    ///
    /// # Errors
    /// [`TlsFault`].
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, TlsFault> {
        let unreadable = |cause| TlsFault::Certificate { path: certificate.to_owned(), cause };
        let read = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let chain = read.map_err(unreadable)?;
        if chain.is_empty() {
            return Err(unreadable(pem::Error::NoItemsFound));
        }
        let private = PrivateKeyDer::from_pem_file(key).map_err(|cause| TlsFault::Key { path: key.to_owned(), cause })?;
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, private);
        let unfit = |cause| TlsFault::Pair { certificate: certificate.to_owned(), key: key.to_owned(), cause };
        let mut config = config.map_err(unfit)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)) })
    }
}
