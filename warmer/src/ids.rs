//! Where the ids come from. They stream: what is held is a page or a buffer of them, never all.

mod file;
mod gather;
mod query;
mod table;

use std::path::PathBuf;

use freshline::{
    catalog::DatabaseError,
    fault::{Classified, Kind},
};
use sqlx::PgPool;

pub use gather::{Gather, More, chunks_of};

use crate::config::Which;

/// A source of ids that has been opened, and seen to be usable.
pub enum Ids {
    /// The table itself.
    Table(table::Listing),
    /// Lines of a file.
    File(file::Lines),
    /// Rows of a query.
    Query(query::Rows),
}

/// Why there are no ids, or no more.
#[derive(Debug, thiserror::Error)]
pub enum IdsError {
    /// The file cannot be read.
    #[error("{} cannot be read", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// Postgres does not carry out the query, or not to its end.
    #[error("Postgres refuses the query of --sql: {0}")]
    Query(String),
    /// The query does not yield ids.
    #[error("the query of --sql {0}")]
    Shape(String),
    /// Postgres does not answer.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// There is not one id among what was read.
    #[error("there is no id in {place}, of {malformed} read")]
    AllMalformed {
        /// Where.
        place: String,
        /// How many lines or rows there were.
        malformed: u64,
    },
}

impl Classified for IdsError {
    fn kind(&self) -> Kind {
        match self {
            Self::File { .. } | Self::Query(_) | Self::Shape(_) | Self::AllMalformed { .. } => Kind::Permanent,
            Self::Database(error) => error.kind(),
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::File { .. } => Some("name a file that this user may read, or - for standard input".into()),
            Self::Query(_) | Self::Shape(_) => Some(
                "write one query that yields one column of type uuid, such as: select id from products where category = 'audio'. It \
                 runs read-only, as the user in FRESHLINE_DATABASE_URL"
                    .into(),
            ),
            Self::AllMalformed { .. } => Some("write one id a line, such as 0190163d-8694-739b-aea5-966c26f8ad91".into()),
            Self::Database(error) => error.remedy(),
        }
    }
}

impl Ids {
    /// Opens the file, or has Postgres look at the query. The sessions of `pool` read only.
    ///
    /// # Errors
    /// If it cannot be used.
    pub async fn open(which: Which, pool: PgPool) -> Result<Self, IdsError> {
        match which {
            Which::All => Ok(Self::Table(table::Listing::all(pool))),
            Which::Newest(count) => Ok(Self::Table(table::Listing::newest(pool, count.get()))),
            Which::File(path) => file::Lines::open(path).await.map(Self::File),
            Which::Query(text) => query::Rows::open(text, pool).await.map(Self::Query),
        }
    }

    /// How many there may be, if that can be said beforehand.
    ///
    /// # Errors
    /// If Postgres does not answer.
    pub async fn expected(&self) -> Result<Option<u64>, IdsError> {
        match self {
            Self::Table(listing) => listing.expected().await,
            Self::File(_) | Self::Query(_) => Ok(None),
        }
    }

    /// Hands on one id after the other, until the last, or until nobody takes them any more.
    ///
    /// # Errors
    /// If they end too early, or not one was an id.
    pub async fn stream(self, gather: &mut Gather) -> Result<(), IdsError> {
        match self {
            Self::Table(listing) => listing.stream(gather).await?,
            Self::File(lines) => lines.stream(gather).await?,
            Self::Query(rows) => rows.stream(gather).await?,
        }
        // The last chunk: nothing is asked of whoever takes it.
        match gather.flush().await {
            More::Continue(()) | More::Break(()) => Ok(()),
        }
    }
}
