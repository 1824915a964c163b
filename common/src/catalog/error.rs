//! What can go wrong between the catalogue and Postgres, and whose matter it is.

use crate::{
    coherence::ETag,
    fault::{Classified, Kind},
    tls,
};

/// A statement that Postgres did not carry out.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Postgres cannot be reached, is starting, stopping or overloaded, or is a standby where a primary is needed.
    #[error("Postgres is not available")]
    Unavailable(#[source] sqlx::Error),
    /// It did not answer in time. A write may have been carried out all the same.
    #[error("Postgres did not answer within {} ms", .0.as_millis())]
    Silent(std::time::Duration),
    /// It did not answer the calls before this one, which was not made.
    #[error("Postgres has not answered lately, and is not asked at present")]
    Barred,
    /// More calls wait for Postgres than may, and this one was not made.
    #[error("too many calls wait for Postgres")]
    Overloaded,
    /// Its certificate is not trusted, or ours is not.
    #[error("there is no trust between Postgres and this process")]
    Untrusted(#[source] sqlx::Error),
    /// It refuses this login, database, table or function.
    #[error("Postgres refuses what the catalogue needs")]
    Refused(#[source] sqlx::Error),
    /// It cannot tell which history a session belongs to, so nothing can be proven.
    #[error("freshline.source() is null on a primary: its owner may not see when the checkpointer started")]
    Nameless,
    /// It answered with something that the catalogue has no explanation for.
    #[error("Postgres answered unexpectedly")]
    Unexpected(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Classified for DatabaseError {
    fn kind(&self) -> Kind {
        match self {
            Self::Unavailable(_) | Self::Silent(_) | Self::Barred | Self::Overloaded => Kind::Transient,
            // A certificate is renewed, here or there, while this process runs.
            Self::Untrusted(_) => Kind::Transient,
            Self::Refused(_) | Self::Nameless => Kind::Permanent,
            Self::Unexpected(_) => Kind::Bug,
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Refused(_) => Some(
                "apply every file of migrations/ to this database, log in as the role that 0006_roles.sql made for this process, and check \
                 the user, password and database name in its URL"
                    .into(),
            ),
            Self::Nameless => Some("as a superuser: grant pg_read_all_stats to the owner of freshline.source()".into()),
            Self::Untrusted(error) => tls::cause_of(error).map(|cause| tls::POSTGRES.remedy(cause)),
            Self::Unavailable(_) | Self::Silent(_) | Self::Barred | Self::Overloaded | Self::Unexpected(_) => None,
        }
    }
}

impl DatabaseError {
    /// Whether no answer came: one that says no is an answer.
    pub(super) fn is_silence(&self) -> bool {
        match self {
            Self::Silent(_) | Self::Untrusted(_) => true,
            // Connection lost, out of resources, shutting down or starting. Others of its kind are about the statement.
            Self::Unavailable(sqlx::Error::Database(error)) => {
                error.code().is_some_and(|code| ["08", "53", "57P"].iter().any(|class| code.starts_with(class)))
            }
            Self::Unavailable(_) => true,
            Self::Barred | Self::Overloaded | Self::Refused(_) | Self::Nameless | Self::Unexpected(_) => false,
        }
    }
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        if tls::cause_of(&error).is_some() {
            return Self::Untrusted(error);
        }
        match kind_of(&error) {
            Kind::Transient => Self::Unavailable(error),
            Kind::Permanent => Self::Refused(error),
            Kind::Bug => match error {
                E::Database(error) => Self::Unexpected(error.into_error()),
                error => Self::Unexpected(error.into()),
            },
        }
    }
}

/// By SQLSTATE, of which the first two characters are the class (the manual's appendix A).
fn kind_of(error: &sqlx::Error) -> Kind {
    use sqlx::Error as E;
    match error {
        E::Io(_) | E::Tls(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed => Kind::Transient,
        E::Configuration(_) | E::InvalidArgument(_) => Kind::Permanent,
        E::Database(error) => match error.code().as_deref().unwrap_or_default() {
            // Read-only: it is a standby, or has become one. Cancelled: the statement's own time limit. Lock not available: another's.
            "25006" | "57014" | "55P03" => Kind::Transient,
            // Undefined table, function, column, schema; insufficient privilege.
            "42P01" | "42883" | "42703" | "3F000" | "42501" => Kind::Permanent,
            code => match code.get(..2).unwrap_or_default() {
                // Connection lost, transaction rolled back, out of resources, operator intervention (shutdown, crash), system error.
                "08" | "40" | "53" | "57" | "58" => Kind::Transient,
                // Wrong login; no such database.
                "28" | "3D" => Kind::Permanent,
                _ => Kind::Bug,
            },
        },
        // The connection is in no known state; the pool makes another.
        E::Protocol(_) => Kind::Transient,
        _ => Kind::Bug,
    }
}

/// A product that was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Another product has this sku.
    #[error("another product has the sku {sku:?}")]
    SkuTaken {
        /// The sku, as it was asked for.
        sku: Box<str>,
    },
    /// A field has a value that the catalogue does not take.
    #[error("{field}: {reason}")]
    Invalid {
        /// The field, by its column's name.
        field: &'static str,
        /// What is wrong with it and what would be right.
        reason: &'static str,
    },
    /// The product is not any more what its writer has seen, so nothing was written.
    #[error("the product has changed: its validator is {now}")]
    Changed {
        /// The validator of the product as it is now.
        now: ETag,
    },
    /// No session of Postgres was to be had, so nothing was written.
    #[error(transparent)]
    NotBegun(DatabaseError),
    /// Postgres did not carry it out.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl WriteError {
    /// Whether no answer came.
    pub(super) fn is_silence(&self) -> bool {
        match self {
            Self::SkuTaken { .. } | Self::Invalid { .. } | Self::Changed { .. } => false,
            Self::NotBegun(error) | Self::Database(error) => error.is_silence(),
        }
    }
}

impl Classified for WriteError {
    fn kind(&self) -> Kind {
        match self {
            Self::SkuTaken { .. } | Self::Invalid { .. } | Self::Changed { .. } => Kind::Permanent,
            Self::NotBegun(error) | Self::Database(error) => error.kind(),
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::SkuTaken { .. } => Some("choose another sku, or change the product that has it".into()),
            Self::Changed { .. } => Some("read it again, and decide anew".into()),
            Self::Invalid { .. } => None,
            Self::NotBegun(error) | Self::Database(error) => error.remedy(),
        }
    }
}
