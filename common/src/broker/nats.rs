//! NATS JetStream: the settings that relay, invalidator and control command share, and a connection made of them.
//!
//! The stream is the relay's alone. Each message's `Nats-Msg-Id` tells its place in the log ([`super::MessageId`]), and names the message
//! before it as the one that has to be the stream's last: what is stored is a gapless beginning of what the relay has to say,
//! whichever publish got lost.

mod limits;
mod refusal;

use std::{path::PathBuf, time::Duration};

use async_nats::{Client, ConnectOptions, Event};
use secrecy::{ExposeSecret, SecretString};
use tokio_util::sync::CancellationToken;

pub use self::refusal::NatsRefusal;
use crate::config::{Description, Optional, Reader, Setting};

/// Where the servers are.
const URL: Setting<Vec<String>> =
    Setting::list("NATS_URL", "nats://127.0.0.1:4222", "The NATS servers; `tls://` for TLS.").or("nats://127.0.0.1:4222");
const STREAM: Setting<String> =
    Setting::namespace("NATS_STREAM", "The JetStream stream of the relay; its subjects begin with this name in small letters.")
        .or("FRESHLINE");
const USER: Optional<String> = Setting::namespace("NATS_USER", "The user to log in as, with a password.").optional();
const PASSWORD: Optional<SecretString> = Setting::secret("NATS_PASSWORD", "That user's password.").optional();
const TOKEN: Optional<SecretString> = Setting::secret("NATS_TOKEN", "A token to log in with.").optional();
const NKEY: Optional<SecretString> = Setting::secret("NATS_NKEY", "The seed of an nkey to log in with.").optional();
const CREDENTIALS: Optional<PathBuf> =
    Setting::path("NATS_CREDENTIALS", "A credentials file (`.creds`: JWT and seed) to log in with.").optional();
const TLS_CA: Optional<PathBuf> =
    Setting::path("NATS_TLS_CA", "Certificates (PEM) to trust instead of the system's. TLS is required where this is set.")
        .optional();
const TLS_CERT: Optional<PathBuf> = Setting::path("NATS_TLS_CERT", "Our own certificate (PEM), with its key.").optional();
const TLS_KEY: Optional<PathBuf> = Setting::path("NATS_TLS_KEY", "The key (PEM) of our own certificate.").optional();

/// How long a server may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Where NATS is, which stream to use there, and how to get in.
#[derive(Debug, Clone)]
pub struct NatsSettings {
    /// The servers.
    pub url: Vec<String>,
    /// The stream.
    pub stream: String,
    login: Login,
    tls_ca: Option<PathBuf>,
    tls_own: Option<(PathBuf, PathBuf)>,
}

#[derive(Debug, Clone)]
enum Login {
    None,
    Password(String, SecretString),
    Token(SecretString),
    Nkey(SecretString),
    Credentials(PathBuf),
}

impl Login {
    /// The settings that say who asks.
    fn settings(&self) -> &'static str {
        match self {
            Self::None => "the FRESHLINE_NATS_… settings to log in with, of which none is set",
            Self::Password(..) => "FRESHLINE_NATS_USER and FRESHLINE_NATS_PASSWORD",
            Self::Token(_) => "FRESHLINE_NATS_TOKEN",
            Self::Nkey(_) => "FRESHLINE_NATS_NKEY",
            Self::Credentials(_) => "FRESHLINE_NATS_CREDENTIALS",
        }
    }
}

impl NatsSettings {
    /// What [`NatsSettings::read`] reads.
    pub const SETTINGS: [Description; 10] = [
        URL.describe(),
        STREAM.describe(),
        USER.describe(),
        PASSWORD.describe(),
        TOKEN.describe(),
        NKEY.describe(),
        CREDENTIALS.describe(),
        TLS_CA.describe(),
        TLS_CERT.describe(),
        TLS_KEY.describe(),
    ];

    /// Reads them all; `None` where one has a fault, which the reader keeps.
    pub fn read(read: &mut Reader<'_>) -> Option<Self> {
        let (url, stream) = (read.get(&URL), read.get(&STREAM));
        let (user, token) = (read.both(&USER, &PASSWORD), read.optional(&TOKEN));
        let (nkey, credentials) = (read.optional(&NKEY), read.optional(&CREDENTIALS));
        let (tls_ca, tls_own) = (read.optional(&TLS_CA), read.both(&TLS_CERT, &TLS_KEY));
        let mut logins = Vec::new();
        logins.extend(user?.map(|(user, password)| Login::Password(user, password)));
        logins.extend(token?.map(Login::Token));
        logins.extend(nkey?.map(Login::Nkey));
        logins.extend(credentials?.map(Login::Credentials));
        if logins.len() > 1 {
            return read.fault(&USER.describe(), "is one of several ways to log in: set only one");
        }
        let login = logins.pop().unwrap_or(Login::None);
        Some(Self { url: url?, stream: stream?, login, tls_ca: tls_ca?, tls_own: tls_own? })
    }

    /// The subjects of the stream: all that begin with its name, in small letters.
    pub fn subject(&self, end: &str) -> String {
        format!("{}.{end}", self.stream.to_ascii_lowercase())
    }

    /// Connects.
    ///
    /// # Errors
    /// [`NatsRefusal`].
    pub async fn connect(&self, name: &str) -> Result<Connection, NatsRefusal> {
        let lost = CancellationToken::new();
        let options = self.options().await?.name(name).request_timeout(Some(ANSWER_WITHIN)).connection_timeout(ANSWER_WITHIN);
        let told = lost.clone();
        let options = options.event_callback(move |event| {
            if matches!(event, Event::Disconnected | Event::Closed) {
                told.cancel();
            }
            std::future::ready(())
        });
        let connected = options.connect(&self.url[..]).await;
        let client = connected.map_err(|cause| NatsRefusal::of(self.url.join(","), self.login.settings(), cause))?;
        Ok(Connection { client, lost })
    }

    async fn options(&self) -> Result<ConnectOptions, NatsRefusal> {
        let options = ConnectOptions::new();
        let options = match &self.login {
            Login::None => options,
            Login::Password(user, password) => options.user_and_password(user.clone(), password.expose_secret().to_owned()),
            Login::Token(token) => options.token(token.expose_secret().to_owned()),
            Login::Nkey(seed) => options.nkey(seed.expose_secret().to_owned()),
            Login::Credentials(path) => {
                let read = options.credentials_file(path).await;
                read.map_err(|cause| NatsRefusal::Credentials { path: path.clone(), cause })?
            }
        };
        let options = match &self.tls_ca {
            Some(ca) => options.add_root_certificates(ca.clone()).require_tls(true),
            None => options,
        };
        Ok(match &self.tls_own {
            Some((cert, key)) => options.add_client_certificate(cert.clone(), key.clone()),
            None => options,
        })
    }
}

/// A connection. The client connects again behind our back; what it finds then may be another server, or an older copy of the
/// stream, whose sequence numbers mean other messages. So whoever reads or writes in order ends with the first connection.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The client.
    pub client: Client,
    /// Cancelled when the connection is lost for the first time.
    pub lost: CancellationToken,
}

/// The header that carries the key of a message's row, as JSON.
pub const KEY_HEADER: &str = "Freshline-Key";
