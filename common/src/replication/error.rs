//! What can go wrong on the way from Postgres, what it calls for, and what mends it.

use std::{sync::Arc, time::Duration};

use pgwire_replication::PgWireError;

use super::{StreamSettings, pgoutput::DecodeError, settings::quoted};
use crate::fault::{Classified, Kind};

/// Why there is no stream, or no more of it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReplicationError {
    /// The connection could not be made, or was lost.
    #[error("no connection to Postgres while {doing}")]
    Disconnected {
        /// What was being done.
        doing: &'static str,
        /// What the network said.
        source: PgWireError,
    },
    /// Postgres did not answer in time.
    #[error("Postgres did not answer within {deadline:?} while {doing}")]
    Late {
        /// What was being done.
        doing: &'static str,
        /// How long it was given.
        deadline: Duration,
    },
    /// The walsender, which is asked to speak at least every so often, has not.
    #[error("the walsender has been silent for {silent_for:?}")]
    Silent {
        /// For how long.
        silent_for: Duration,
    },
    /// Postgres ended the session, or takes none at present (terminated, shutting down, starting, full).
    #[error("Postgres ended the session or takes none: {message}")]
    Unavailable {
        /// What it said.
        message: String,
    },
    /// Another session streams from the slot, or is making it.
    #[error("replication slot {slot} is in use: {message}")]
    SlotBusy {
        /// The slot.
        slot: String,
        /// What Postgres said; it names the other session's process.
        message: String,
    },
    /// There is no slot of this name. A new session can make it.
    #[error("there is no replication slot {slot}")]
    SlotMissing {
        /// The slot.
        slot: String,
    },
    /// The log that the slot needs is gone. A new session can drop it and make it anew.
    #[error("replication slot {slot} has lost its place in the log: {reason}")]
    SlotLost {
        /// The slot.
        slot: String,
        /// What Postgres says of it.
        reason: String,
    },
    /// The slot is not one that can be streamed from here.
    #[error("replication slot {slot} does not fit: {problem}")]
    SlotUnfit {
        /// The slot.
        slot: String,
        /// Its plugin, kind or database.
        problem: String,
    },
    /// A new slot waits for older transactions to end, and they did not in time.
    #[error("replication slot {slot} could not be made within {waited:?}: it waits for {waits_for}")]
    SlotCreationWaits {
        /// The slot.
        slot: String,
        /// How long it was given.
        waited: Duration,
        /// The sessions that hold it up.
        waits_for: String,
    },
    /// The log holds too little to decode changes from it.
    #[error("wal_level is {found}, which carries no row changes")]
    WalLevel {
        /// The server's setting.
        found: String,
    },
    /// The publication does not exist, or did not at the slot's place in the log.
    #[error("publication {publication} does not exist at the slot's place in the log: {message}")]
    PublicationMissing {
        /// The publication.
        publication: String,
        /// What Postgres said.
        message: String,
    },
    /// The role may not do this: password, `pg_hba.conf`, REPLICATION, database.
    #[error("Postgres refuses the role {role}: {message}")]
    Forbidden {
        /// The role that asked.
        role: String,
        /// What Postgres said.
        message: String,
    },
    /// No encrypted connection.
    #[error("no TLS with Postgres: {message}")]
    Tls {
        /// What the TLS library said.
        message: String,
    },
    /// A change is longer than what is accepted.
    #[error("a message of {len} bytes is beyond the {max} that are accepted")]
    MessageTooLong {
        /// Its length.
        len: usize,
        /// The bound.
        max: usize,
    },
    /// The stream breaks the protocol.
    #[error("the change stream cannot be decoded")]
    Undecodable(#[from] DecodeError),
    /// Postgres refuses for a reason not listed above.
    #[error("Postgres refused while {doing}: {message}")]
    Refused {
        /// What was being done.
        doing: &'static str,
        /// What it said, with the SQLSTATE.
        message: String,
    },
    /// The session answered something else than the manual says.
    #[error("unexpected answer while {doing}: {message}")]
    Unexpected {
        /// What was being done.
        doing: &'static str,
        /// What came.
        message: String,
    },
    /// A question to Postgres beside the stream failed.
    #[error("Postgres could not be asked while {doing}")]
    Sql {
        /// What was being done.
        doing: &'static str,
        /// What failed.
        source: Arc<sqlx::Error>,
    },
}

impl Classified for ReplicationError {
    fn kind(&self) -> Kind {
        match self {
            Self::Disconnected { .. } | Self::Late { .. } | Self::Silent { .. } | Self::Unavailable { .. } => Kind::Transient,
            Self::SlotBusy { .. } | Self::SlotCreationWaits { .. } | Self::Sql { .. } => Kind::Transient,
            // The next session looks the slot up, and finds out what to do.
            Self::SlotMissing { .. } | Self::SlotLost { .. } => Kind::Transient,
            Self::SlotUnfit { .. } | Self::WalLevel { .. } | Self::PublicationMissing { .. } => Kind::Permanent,
            Self::Forbidden { .. } | Self::Tls { .. } => Kind::Permanent,
            Self::MessageTooLong { .. } | Self::Refused { .. } => Kind::Permanent,
            Self::Undecodable(_) | Self::Unexpected { .. } => Kind::Bug,
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::SlotBusy { slot, .. } => format!(
                "wait, or end the other session: select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '{slot}'"
            ),
            Self::SlotMissing { slot } => format!("select pg_create_logical_replication_slot('{slot}', 'pgoutput')"),
            Self::SlotLost { slot, .. } => {
                format!("select pg_drop_replication_slot('{slot}'), have it made anew, and raise max_slot_wal_keep_size")
            }
            Self::SlotUnfit { slot, .. } => format!("name another slot, or select pg_drop_replication_slot('{slot}')"),
            Self::SlotCreationWaits { .. } => "end these transactions, or wait for them".to_owned(),
            Self::WalLevel { .. } => "alter system set wal_level = logical, then restart Postgres".to_owned(),
            Self::PublicationMissing { publication, .. } => format!(
                "create publication {} for table …; if it exists by now, it is younger than the slot: drop the slot, have it made anew",
                quoted(publication)
            ),
            Self::Forbidden { role, .. } => {
                format!("alter role {} login replication, and let pg_hba.conf and the password agree (scram-sha-256)", quoted(role))
            }
            Self::Tls { .. } => {
                "in FRESHLINE_DATABASE_URL name the host as the server's certificate does, and set sslmode, sslrootcert, \
                 sslcert and sslkey as the server asks for them; renew a certificate that has expired"
                    .to_owned()
            }
            Self::MessageTooLong { len, .. } => format!("accept messages of at least {len} bytes"),
            Self::Unavailable { message } => match sqlstate(message) {
                "53300" => "raise max_wal_senders or max_connections".to_owned(),
                "53400" => "raise max_replication_slots, or drop a slot that nobody needs".to_owned(),
                _ => return None,
            },
            Self::Disconnected { .. } | Self::Late { .. } | Self::Silent { .. } => return None,
            Self::Undecodable(_) | Self::Refused { .. } | Self::Unexpected { .. } | Self::Sql { .. } => return None,
        })
    }
}

/// Where in a session's life an error came: the same SQLSTATE means different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Connecting,
    Asking,
    Creating,
    Starting,
    Streaming,
}

impl Phase {
    pub(super) fn doing(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Asking => "looking up the slot",
            Self::Creating => "making the slot",
            Self::Starting => "starting the stream",
            Self::Streaming => "streaming",
        }
    }
}

/// Classifies what the client crate reports.
pub(super) fn classify(error: PgWireError, phase: Phase, settings: &StreamSettings) -> ReplicationError {
    let doing = phase.doing();
    match error {
        PgWireError::Server(message) => classify_answer(message, phase, settings),
        PgWireError::Io(_) | PgWireError::Task(_) => ReplicationError::Disconnected { doing, source: error },
        PgWireError::Auth(message) => ReplicationError::Forbidden { role: settings.server.get_username().to_owned(), message },
        // The crate tells a connection that broke off in the handshake like a certificate that is wrong.
        PgWireError::Tls(ref message) if message.starts_with("TLS handshake failed") && !message.contains("certificate") => {
            ReplicationError::Disconnected { doing, source: error }
        }
        PgWireError::Tls(message) => ReplicationError::Tls { message },
        PgWireError::MessageTooLarge { payload_bytes: len, limit_bytes: max } => ReplicationError::MessageTooLong { len, max },
        other => ReplicationError::Unexpected { doing, message: other.to_string() },
    }
}

// By SQLSTATE, not by words: those are translated. The crate has made one text of both.
fn classify_answer(message: String, phase: Phase, settings: &StreamSettings) -> ReplicationError {
    let slot = settings.slot.to_string();
    match (sqlstate(&message), phase) {
        ("55006", _) => ReplicationError::SlotBusy { slot, message },
        // Another session has made it since it was looked up.
        ("42710", Phase::Creating) => ReplicationError::SlotBusy { slot, message },
        ("42704", Phase::Streaming) => ReplicationError::PublicationMissing { publication: settings.publication.clone(), message },
        ("42704", Phase::Asking | Phase::Starting) => ReplicationError::SlotMissing { slot },
        // Not in a state to be read from. Plugin, database and wal_level have been checked by then.
        ("55000" | "58P01", Phase::Starting | Phase::Streaming) => ReplicationError::SlotLost { slot, reason: message },
        ("42501" | "3D000", _) => ReplicationError::Forbidden { role: settings.server.get_username().to_owned(), message },
        (state, _) => match &state[..state.len().min(2)] {
            "28" => ReplicationError::Forbidden { role: settings.server.get_username().to_owned(), message },
            // Connection trouble, out of something, operator intervention, input or output.
            "08" | "53" | "57" | "58" => ReplicationError::Unavailable { message },
            _ => ReplicationError::Refused { doing: phase.doing(), message },
        },
    }
}

fn sqlstate(message: &str) -> &str {
    message.rsplit_once("(SQLSTATE ").and_then(|(_, state)| state.strip_suffix(')')).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::replication::SlotName;

    fn classified(message: &str, phase: Phase) -> ReplicationError {
        let server = "postgres://reader@localhost/shop".parse().expect("a url");
        let settings = StreamSettings::new(server, SlotName::new("place").expect("a name"), "fresh");
        classify(PgWireError::Server(message.to_owned()), phase, &settings)
    }

    #[rstest]
    #[case::busy("replication slot \"place\" is active for PID 7 (SQLSTATE 55006)", Phase::Starting, Kind::Transient, "in use")]
    #[case::terminated("terminating connection (SQLSTATE 57P01)", Phase::Streaming, Kind::Transient, "ended the session")]
    #[case::full("too many (SQLSTATE 53300)", Phase::Connecting, Kind::Transient, "takes none")]
    #[case::starting("the database system is starting up (SQLSTATE 57P03)", Phase::Connecting, Kind::Transient, "takes none")]
    #[case::made_by_another("already exists (SQLSTATE 42710)", Phase::Creating, Kind::Transient, "in use")]
    #[case::no_slot("does not exist (SQLSTATE 42704)", Phase::Starting, Kind::Transient, "no replication slot place")]
    #[case::no_publication("does not exist (SQLSTATE 42704)", Phase::Streaming, Kind::Permanent, "publication fresh")]
    #[case::lost("can no longer get changes (SQLSTATE 55000)", Phase::Starting, Kind::Transient, "lost its place")]
    #[case::log_removed("already removed (SQLSTATE 58P01)", Phase::Streaming, Kind::Transient, "lost its place")]
    #[case::password("no (SQLSTATE 28P01)", Phase::Connecting, Kind::Permanent, "refuses the role reader")]
    #[case::right("no (SQLSTATE 42501)", Phase::Connecting, Kind::Permanent, "refuses the role reader")]
    #[case::other("out of words (SQLSTATE XX000)", Phase::Streaming, Kind::Permanent, "out of words (SQLSTATE XX000)")]
    #[case::no_state("words only", Phase::Streaming, Kind::Permanent, "words only")]
    fn what_postgres_says_is_classified(#[case] said: &str, #[case] phase: Phase, #[case] kind: Kind, #[case] shown: &str) {
        let error = classified(said, phase);
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(shown), "{error}");
    }

    #[rstest]
    #[case::broken_off("TLS handshake failed: unexpected end of file", Kind::Transient)]
    #[case::not_trusted("TLS handshake failed: invalid peer certificate: UnknownIssuer", Kind::Permanent)]
    #[case::not_offered("server does not support TLS (SSLRequest rejected)", Kind::Permanent)]
    fn a_handshake_that_breaks_off_is_tried_again(#[case] said: &str, #[case] kind: Kind) {
        let server = "postgres://reader@localhost/shop".parse().expect("a url");
        let settings = StreamSettings::new(server, SlotName::new("place").expect("a name"), "fresh");
        let error = classify(PgWireError::Tls(said.to_owned()), Phase::Connecting, &settings);
        assert_eq!(error.kind(), kind, "{error}");
    }
}
