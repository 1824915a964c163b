//! An SQL session with the primary: its history, its snapshot, its tables.

use std::{sync::Arc, time::Duration};

use freshline::{
    coherence::{Snapshot, Source},
    envelope::Relations,
    fault::{Classified, Kind},
    rules::SchemaUnread,
};
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};

/// How long the primary may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A session with the primary.
pub struct Primary {
    connection: PgConnection,
}

/// One look at it.
#[derive(Debug, Clone)]
pub struct Look {
    /// The history that it is in.
    pub source: Source,
    /// What a statement that begins now sees.
    pub snapshot: Arc<Snapshot>,
}

/// Why the primary told nothing.
#[derive(Debug, thiserror::Error)]
pub enum Untold {
    /// It cannot be asked.
    #[error("the primary cannot be asked")]
    Query(#[source] sqlx::Error),
    /// It does not answer.
    #[error("the primary has not answered for {} s", ANSWER_WITHIN.as_secs())]
    Late,
    /// It answers what cannot be read.
    #[error("the primary answers what cannot be read")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Its tables cannot be read.
    #[error("the tables cannot be read")]
    Tables(#[source] SchemaUnread),
}

impl Classified for Untold {
    fn kind(&self) -> Kind {
        match self {
            Self::Query(sqlx::Error::Database(refused)) if refused.code().is_some_and(|code| code.starts_with("42")) => {
                Kind::Permanent
            }
            Self::Query(_) | Self::Late => Kind::Transient,
            Self::Unreadable(_) => Kind::Bug,
            Self::Tables(error) => error.kind(),
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Query(sqlx::Error::Database(_)) => Some(
                "apply the migrations; or grant usage on schema freshline and execute on its functions to this role".to_owned(),
            ),
            Self::Tables(error) => error.remedy(),
            Self::Query(_) | Self::Late | Self::Unreadable(_) => None,
        }
    }
}

impl Primary {
    /// Connects.
    pub async fn connect(options: &PgConnectOptions) -> Result<Self, Untold> {
        let connecting = PgConnection::connect_with(options);
        let connection = tokio::time::timeout(ANSWER_WITHIN, connecting).await.map_err(|_| Untold::Late)?.map_err(Untold::Query)?;
        Ok(Self { connection })
    }

    /// Looks at its history and snapshot.
    pub async fn look(&mut self) -> Result<Look, Untold> {
        let statement = "select freshline.source(), pg_current_snapshot()::text";
        let asked = sqlx::query_as(statement).fetch_one(&mut self.connection);
        let answer = tokio::time::timeout(ANSWER_WITHIN, asked).await.map_err(|_| Untold::Late)?;
        let (source, snapshot): (String, String) = answer.map_err(Untold::Query)?;
        Ok(Look {
            source: source.parse().map_err(|error| Untold::Unreadable(Box::new(error)))?,
            snapshot: Arc::new(snapshot.parse().map_err(|error| Untold::Unreadable(Box::new(error)))?),
        })
    }

    /// Reads its tables.
    pub async fn tables(&mut self) -> Result<Relations, Untold> {
        Relations::load(&mut self.connection).await.map_err(Untold::Tables)
    }
}
