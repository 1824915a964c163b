//! Where the servers are. Both hold a password, so neither shows itself.

use std::fmt;

use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, TlsCertificates};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{ConnectOptions, postgres::PgConnectOptions};

/// Where a Postgres is, and who asks.
///
/// What the URL leaves out is taken from libpq's own variables (`PGHOST`, `PGPASSWORD`, …) and password file, as `psql` does.
#[derive(Clone)]
pub struct PostgresUrl {
    options: PgConnectOptions,
    has_password: bool,
}

impl PostgresUrl {
    /// Reads a URL of the scheme `postgres` or `postgresql`; the reason where it is none. The reason never shows the password.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme)) {
            return Err("does not begin with postgres://".to_owned());
        }
        let options = text.parse::<PgConnectOptions>().map_err(|_| "is not a URL that names a Postgres".to_owned())?;
        Ok(Self { options, has_password: names_password(text) })
    }

    /// Whether the URL itself has a password.
    pub(super) fn has_password(&self) -> bool {
        self.has_password
    }

    /// The same, with this password.
    pub(super) fn with_password(self, password: &SecretString) -> Self {
        Self { options: self.options.password(password.expose_secret()), has_password: true }
    }

    /// What sqlx connects with.
    pub fn connect_options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    /// The password, where there is one: for a client that is not sqlx.
    pub fn password(&self) -> Option<SecretString> {
        // sqlx has no getter, but writes the password it settled on into a URL. Host and user are replaced, because it would not
        // escape them there.
        let url = self.options.clone().host("host").username("user").to_url_lossy();
        let password = percent_encoding::percent_decode_str(url.password()?).decode_utf8().ok()?;
        Some(SecretString::from(password.into_owned()))
    }
}

/// Whether a URL has a password, before its host or as a parameter.
fn names_password(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (authority, parameters) = (rest.split(['/', '?']).next().unwrap_or_default(), rest.split_once('?'));
    let user = authority.rsplit_once('@').map(|(user, _)| user);
    user.is_some_and(|user| user.contains(':'))
        || parameters.is_some_and(|(_, all)| all.split('&').any(|one| one.starts_with("password=")))
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for PostgresUrl {
    /// User, address and database, without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { options, .. } = self;
        write!(f, "postgres://{}@", options.get_username())?;
        match options.get_socket() {
            Some(socket) => write!(f, "{}", socket.display())?,
            None => write!(f, "{}:{}", options.get_host(), options.get_port())?,
        }
        write!(f, "/{}", options.get_database().unwrap_or_default())
    }
}

/// Where a Redis is, and who asks.
#[derive(Clone)]
pub struct RedisUrl {
    info: ConnectionInfo,
}

impl RedisUrl {
    /// Reads a URL of the scheme `redis`, `rediss` (TLS) or `unix`; the reason where it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        // The cause is left out: redis shows a part of the URL in some of them.
        let info = text.into_connection_info().map_err(|_| "is not a URL that names a Redis".to_owned())?;
        // Redis 7.0 does not know the command by which a client names its library, and the least rights do not have it.
        let settings = info.redis_settings().clone().set_skip_set_lib_name();
        Ok(Self { info: info.set_redis_settings(settings) })
    }

    /// Whether the URL has a password.
    pub(super) fn has_password(&self) -> bool {
        self.info.redis_settings().password().is_some()
    }

    /// Whether it asks for TLS.
    pub(super) fn is_tls(&self) -> bool {
        matches!(self.info.addr(), ConnectionAddr::TcpTls { .. })
    }

    /// The same, with this password.
    pub(super) fn with_password(self, password: &SecretString) -> Self {
        let settings = self.info.redis_settings().clone().set_password(password.expose_secret());
        Self { info: self.info.set_redis_settings(settings) }
    }

    /// The same, with these certificates; the reason where they are none.
    pub(super) fn with_tls(self, certificates: TlsCertificates) -> Result<Self, String> {
        let client = Client::build_with_tls(self.info, certificates);
        let info = client.map_err(|error| format!("cannot be used ({error})"))?.get_connection_info().clone();
        Ok(Self { info })
    }

    /// What the redis crate connects with.
    pub fn connection_info(&self) -> ConnectionInfo {
        self.info.clone()
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for RedisUrl {
    /// User, address and database, without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = self.info.redis_settings();
        let user = settings.username().map(|user| format!("{user}@")).unwrap_or_default();
        let scheme = if matches!(self.info.addr(), ConnectionAddr::TcpTls { .. }) { "rediss" } else { "redis" };
        write!(f, "{scheme}://{user}{}/{}", self.info.addr(), settings.db())
    }
}
