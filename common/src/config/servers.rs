//! How the servers are reached: a URL each, and what completes it: the password from elsewhere, certificates for TLS.

use std::{fs, path::PathBuf};

use redis::{ClientTlsConfig, TlsCertificates};
use secrecy::SecretString;

use super::{Description, Optional, PostgresUrl, Reader, RedisUrl, Setting};

/// Where the primary is.
pub(super) const DATABASE_URL: Setting<PostgresUrl> = Setting::postgres_url(
    "DATABASE_URL",
    "The Postgres that holds the truth: its primary, as the role of this process. For TLS add `?sslmode=verify-full`, and \
     `sslrootcert`, `sslcert` and `sslkey` with paths of files (PEM).",
);
const DATABASE_PASSWORD: Optional<SecretString> =
    Setting::secret("DATABASE_PASSWORD", "The password of that role, where the URL has none.").optional();

/// Where the cache is.
pub(super) const REDIS_URL: Setting<RedisUrl> =
    Setting::redis_url("REDIS_URL", "The Redis that holds the cache, as the user of this process; `rediss://` for TLS.");
const REDIS_PASSWORD: Optional<SecretString> =
    Setting::secret("REDIS_PASSWORD", "The password of that user, where the URL has none.").optional();
const REDIS_CA_FILE: Optional<PathBuf> =
    Setting::path("REDIS_CA_FILE", "Certificates (PEM) of authorities to trust for `rediss://`, instead of the public ones.")
        .optional();
const REDIS_CERTIFICATE_FILE: Optional<PathBuf> =
    Setting::path("REDIS_CERTIFICATE_FILE", "Our own certificate (PEM) for `rediss://`, with its key.").optional();
const REDIS_KEY_FILE: Optional<PathBuf> = Setting::path("REDIS_KEY_FILE", "The key (PEM) of our own certificate.").optional();

impl PostgresUrl {
    /// The settings that [`PostgresUrl::read`] reads.
    pub const SETTINGS: [Description; 2] = [DATABASE_URL.describe(), DATABASE_PASSWORD.describe()];

    /// Reads the URL and what completes it; `None` where one has a fault, which the reader keeps.
    pub fn read(read: &mut Reader<'_>) -> Option<Self> {
        let (url, password) = (read.get(&DATABASE_URL), read.optional(&DATABASE_PASSWORD));
        let (url, Some(password)) = (url.clone()?, password?) else { return url };
        if url.has_password() {
            return read.fault(&DATABASE_PASSWORD.describe(), "is set, and FRESHLINE_DATABASE_URL has a password as well");
        }
        Some(url.with_password(&password))
    }
}

impl RedisUrl {
    /// The settings that [`RedisUrl::read`] reads.
    pub const SETTINGS: [Description; 5] = [
        REDIS_URL.describe(),
        REDIS_PASSWORD.describe(),
        REDIS_CA_FILE.describe(),
        REDIS_CERTIFICATE_FILE.describe(),
        REDIS_KEY_FILE.describe(),
    ];

    /// Reads the URL and what completes it; `None` where one has a fault, which the reader keeps. The files are read here, once.
    pub fn read(read: &mut Reader<'_>) -> Option<Self> {
        let (url, password) = (read.get(&REDIS_URL), read.optional(&REDIS_PASSWORD));
        let (authority, own) = (read.optional(&REDIS_CA_FILE), read.both(&REDIS_CERTIFICATE_FILE, &REDIS_KEY_FILE));
        let mut url = url?;
        if let Some(password) = password? {
            if url.has_password() {
                return read.fault(&REDIS_PASSWORD.describe(), "is set, and FRESHLINE_REDIS_URL has a password as well");
            }
            url = url.with_password(&password);
        }
        let (authority, own) = (authority?, own?);
        if authority.is_none() && own.is_none() {
            return Some(url);
        }
        if !url.is_tls() {
            return read.fault(&REDIS_URL.describe(), "is not of the scheme rediss, and there are files for TLS");
        }
        let root_cert = match authority {
            Some(path) => Some(bytes(read, &REDIS_CA_FILE, path)?),
            None => None,
        };
        let client_tls = match own {
            Some((certificate, key)) => Some(ClientTlsConfig {
                client_cert: bytes(read, &REDIS_CERTIFICATE_FILE, certificate)?,
                client_key: bytes(read, &REDIS_KEY_FILE, key)?,
            }),
            None => None,
        };
        let files = if client_tls.is_some() { &REDIS_CERTIFICATE_FILE } else { &REDIS_CA_FILE };
        match url.with_tls(TlsCertificates { client_tls, root_cert }) {
            Ok(url) => Some(url),
            Err(why) => read.fault(&files.describe(), &why),
        }
    }
}

fn bytes(read: &mut Reader<'_>, setting: &Optional<PathBuf>, path: PathBuf) -> Option<Vec<u8>> {
    match fs::read(path) {
        Ok(bytes) => Some(bytes),
        Err(error) => read.fault(&setting.describe(), &format!("cannot be read ({error})")),
    }
}
