//! Which stream to follow, and the settings that the client crate and the walsender get.

use std::{fmt, path::PathBuf, time::Duration};

use pgwire_replication::{ReplicationConfig, SslMode, TlsConfig};
use sqlx::{
    ConnectOptions,
    postgres::{PgConnectOptions, PgSslMode},
};

use super::ReplicationError;

/// The settings of a session that decide how Postgres prints a value. Pinned for the stream; a session whose values are compared
/// with the stream's pins the same.
pub const TEXT_SETTINGS: [(&str, &str); 5] = [
    ("TimeZone", "UTC"),
    ("DateStyle", "ISO"),
    ("IntervalStyle", "iso_8601"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
];

/// How many messages the client crate holds ready.
///
/// The crate bounds its buffer by messages, not bytes, so this times the longest row is what a stalled consumer costs: few, for a
/// row can be 10 MB. Fewer than 16 cost CPU (a task is woken for each few messages: 6 µs a change at 4, 2.7 at 16); more brought
/// nothing while the walsender sets the pace. Reading ahead is done behind it, bounded by bytes (`queue.rs`).
const BUFFERED_MESSAGES_MAX: usize = 16;

/// How often an acknowledged position is told to the server, at most. Each telling also makes a walsender that is ahead of it
/// answer with its position.
const STATUS_INTERVAL: Duration = Duration::from_millis(250);

/// How long the client crate stays silent on an idle stream. Far longer than the walsender's own interval: it is the walsender
/// that asks, so that its silence means something.
const IDLE_WAKEUP: Duration = Duration::from_secs(3600);

/// The name of a replication slot: 1 to 63 of `a-z 0-9 _`, not beginning with a digit (the replication grammar takes no other
/// without quotes, which the client crate does not write).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotName(Box<str>);

/// A text that cannot name a slot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot name a replication slot: write 1 to 63 of a-z, 0-9 and _, beginning with a letter or _")]
pub struct SlotNameSyntax(String);

impl SlotName {
    /// The slot of this name.
    pub fn new(name: &str) -> Result<Self, SlotNameSyntax> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let begins_well = name.bytes().next().is_some_and(|first| !first.is_ascii_digit());
        if begins_well && name.len() <= 63 && name.bytes().all(plain) {
            Ok(Self(name.into()))
        } else {
            Err(SlotNameSyntax(name.to_owned()))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SlotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which stream to follow, and within which bounds.
#[derive(Clone)]
pub struct StreamSettings {
    /// The server, as SQL connections reach it too. Its role needs REPLICATION.
    pub server: PgConnectOptions,
    /// The slot that keeps the place in the stream.
    pub slot: SlotName,
    /// The publication that says which tables are streamed.
    pub publication: String,
    /// How long connecting, and each question before the start, may take.
    pub answer_deadline: Duration,
    /// How long a new slot may wait for the transactions that were open when it was asked for.
    pub creation_deadline: Duration,
    /// After this long without an answer from us the walsender gives up, which frees the slot of a machine that has vanished. It
    /// asks at half of it, so a stream silent for one and a half times as long is taken for lost.
    pub server_timeout: Duration,
    /// The longest message that is accepted, in bytes. A change is one message, the row before included.
    pub message_len_max: usize,
}

impl fmt::Debug for StreamSettings {
    // Without the server's address, whose Debug shows the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamSettings").field("slot", &self.slot).field("publication", &self.publication).finish_non_exhaustive()
    }
}

impl StreamSettings {
    /// The stream of this publication through this slot, within the default bounds.
    pub fn new(server: PgConnectOptions, slot: SlotName, publication: impl Into<String>) -> Self {
        Self {
            server,
            slot,
            publication: publication.into(),
            answer_deadline: Duration::from_secs(10),
            creation_deadline: Duration::from_secs(30),
            server_timeout: Duration::from_secs(30),
            message_len_max: 256 << 20,
        }
    }

    /// How long the stream may be silent before it is taken for lost.
    pub(super) fn silence_max(&self) -> Duration {
        self.server_timeout * 3 / 2
    }

    /// What the client crate connects with.
    pub(super) fn wire_config(&self) -> Result<ReplicationConfig, ReplicationError> {
        let server = &self.server;
        let (user, database) = (server.get_username(), server.get_database().unwrap_or(server.get_username()));
        let (password, tls) = self.password_and_tls()?;
        let publication = quoted(&self.publication);
        let config = match server.get_socket() {
            Some(directory) => {
                let directory = directory.to_string_lossy();
                ReplicationConfig::unix(directory, server.get_port(), user, password, database, self.slot.as_str(), publication)
            }
            None => ReplicationConfig::new(server.get_host(), user, password, database, self.slot.as_str(), publication)
                .with_port(server.get_port())
                .with_tls(tls),
        };
        Ok(config
            .with_options(self.options())
            .with_application_name(server.get_application_name().unwrap_or("freshline"))
            .with_buffer_size(BUFFERED_MESSAGES_MAX)
            .with_max_message_size(self.message_len_max)
            .with_status_interval(STATUS_INTERVAL)
            .with_wakeup_interval(IDLE_WAKEUP))
    }

    // Later settings win, so ours follow what the server's address asks for.
    fn options(&self) -> String {
        let mut options = self.server.get_options().unwrap_or_default().to_owned();
        for (name, value) in TEXT_SETTINGS {
            options.push_str(&format!(" -c {name}={value}"));
        }
        options.push_str(&format!(" -c wal_sender_timeout={}", self.server_timeout.as_millis()));
        options
    }

    // sqlx has no getter for these, but writes what it settled on into a URL. Host and user are replaced, because it would not
    // escape them there.
    fn password_and_tls(&self) -> Result<(String, TlsConfig), ReplicationError> {
        let url = self.server.clone().host("host").username("user").to_url_lossy();
        let password = percent_encoding::percent_decode_str(url.password().unwrap_or_default()).decode_utf8_lossy().into_owned();
        let file = |name: &str| match url.query_pairs().find(|(key, _)| key == name) {
            None => Ok(None),
            Some((_, value)) => match value.strip_prefix("file: ") {
                Some(path) => Ok(Some(PathBuf::from(path))),
                None => Err(ReplicationError::Tls { message: format!("{name} has to name a file") }),
            },
        };
        let tls = TlsConfig {
            mode: ssl_mode(self.server.get_ssl_mode()),
            ca_pem_path: file("sslrootcert")?,
            // The crate refuses an address under verify-full unless it is told that this is the name.
            sni_hostname: Some(self.server.get_host().to_owned()),
            client_cert_pem_path: file("sslcert")?,
            client_key_pem_path: file("sslkey")?,
        };
        Ok((password, tls))
    }
}

// As sqlx does, which never asks for TLS under `allow`.
fn ssl_mode(mode: PgSslMode) -> SslMode {
    match mode {
        PgSslMode::Disable | PgSslMode::Allow => SslMode::Disable,
        PgSslMode::Prefer => SslMode::Prefer,
        PgSslMode::Require => SslMode::Require,
        PgSslMode::VerifyCa => SslMode::VerifyCa,
        PgSslMode::VerifyFull => SslMode::VerifyFull,
    }
}

/// An identifier in quotes. pgoutput folds the case of names without them and splits them at commas.
pub(super) fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str) -> StreamSettings {
        let server = url.parse().expect("a url");
        StreamSettings::new(server, SlotName::new("freshline").expect("a name"), "Fresh, \"line\"")
    }

    #[test]
    fn a_slot_name_that_the_grammar_would_refuse_is_refused() {
        for name in ["", "1st", "Upper", "a-b", "a b", "ü", "a;drop", &"x".repeat(64)] {
            assert_eq!(SlotName::new(name), Err(SlotNameSyntax(name.to_owned())));
        }
        for name in ["a", "_1", &"x".repeat(63)] {
            assert_eq!(SlotName::new(name).expect("a good name").as_str(), name);
        }
    }

    #[test]
    fn the_address_of_sql_connections_serves_the_stream() {
        let config = settings("postgres://re%40d:p%2Fw+%20%25@db.example:6543/shop?sslmode=verify-full&sslrootcert=/etc/ca.pem")
            .wire_config()
            .expect("a config");
        assert_eq!((config.user.as_str(), config.password.as_str()), ("re@d", "p/w+ %"));
        assert_eq!((config.host.as_str(), config.port, config.database.as_str()), ("db.example", 6543, "shop"));
        assert_eq!(config.tls.mode, SslMode::VerifyFull);
        assert_eq!(config.tls.ca_pem_path, Some("/etc/ca.pem".into()));
        assert_eq!(config.publication.names(), ["\"Fresh, \"\"line\"\"\""]);
    }

    #[test]
    fn the_password_is_not_shown() {
        let shown = format!("{:?}", settings("postgres://u:hunter2@h/d"));
        assert!(shown.contains("freshline") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_socket_directory_is_taken_for_one() {
        let config = settings("postgres:///shop?host=/run/postgresql&port=5433&user=u").wire_config().expect("a config");
        assert_eq!(config.unix_socket_path(), PathBuf::from("/run/postgresql/.s.PGSQL.5433"));
    }

    #[test]
    fn our_settings_follow_those_of_the_address() {
        let config = settings("postgres://u@h/d?options=-c%20DateStyle%3DGerman").wire_config().expect("a config");
        let options = config.options.expect("options");
        assert!(options.starts_with("-c DateStyle=German -c TimeZone=UTC -c DateStyle=ISO "), "{options}");
        assert!(options.ends_with("-c wal_sender_timeout=30000"), "{options}");
    }
}
