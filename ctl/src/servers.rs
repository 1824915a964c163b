//! The servers that are looked at, each reached within a deadline, and what is said where one is away.

use std::{io, time::Duration};

use freshline::{
    broker::SourceConfig,
    check::NotReady,
    coherence::{Link, LinkError, Stripes},
    dead_letters::DeadLetterError,
    fault::{Classified, Kind, in_full},
    replication::{SlotName, SlotNameSyntax, StreamSettings, TEXT_SETTINGS},
    rules::{Rules, RulesUnread, SchemaUnread, TableName},
    service::ServiceFailed,
    shard::Shard,
    tls,
};
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;

use crate::{broker::Untold, config::Config};

/// How long a server may take to answer one question.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The process that publishes to a broker.
const RELAY: &str = "freshline-relay";

/// A slot that a process of ours reads.
#[derive(Debug)]
pub struct OwnSlot {
    pub name: String,
    /// Who reads it.
    pub reader: String,
    /// The variable that names it.
    pub variable: &'static str,
}

/// What is looked at.
#[derive(Debug)]
pub struct Servers {
    pub config: Config,
    pub rules: Rules,
    redis: redis::Client,
}

/// Why something could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error("Redis at {address} cannot be asked")]
    Redis { address: String, source: LinkError },
    #[error("Postgres at {address} cannot be asked")]
    Postgres { address: String, source: sqlx::Error },
    #[error("Postgres at {address} cannot be checked")]
    Check { address: String, source: NotReady },
    #[error("the tables of the rules cannot be looked at")]
    Schema(#[source] SchemaUnread),
    #[error(transparent)]
    DeadLetters(#[from] DeadLetterError),
    #[error(transparent)]
    Broker(#[from] Untold),
    #[error("FRESHLINE_REDIS_URL cannot be used")]
    RedisUrl(#[source] redis::RedisError),
    #[error("FRESHLINE_SLOT or FRESHLINE_RELAY_SLOT cannot be used")]
    Slot(#[source] SlotNameSyntax),
    #[error(transparent)]
    Rules(#[from] RulesUnread),
    #[error("no rule is about table {0}")]
    NoRules(String),
    #[error("the output cannot be written")]
    Output(#[from] io::Error),
    #[error("the answer has no JSON")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Begin(#[from] ServiceFailed),
}

impl Classified for Trouble {
    fn kind(&self) -> Kind {
        match self {
            Self::Redis { source, .. } => source.kind(),
            Self::Postgres { .. } => Kind::Transient,
            Self::Check { source, .. } => source.kind(),
            Self::Schema(source) => source.kind(),
            Self::DeadLetters(source) => source.kind(),
            Self::Rules(source) => source.kind(),
            Self::Broker(source) => source.kind(),
            Self::RedisUrl(_) | Self::Slot(_) | Self::NoRules(_) => Kind::Permanent,
            Self::Output(_) => Kind::Transient,
            Self::Begin(source) => source.kind(),
            Self::Json(_) => Kind::Bug,
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Redis { source, .. } => {
                source.remedy().or_else(|| Some("start it, or name the right one in FRESHLINE_REDIS_URL".into()))
            }
            Self::Postgres { source: sqlx::Error::Database(refused), .. } if refused.code().is_some_and(|code| code == "42501") => {
                Some("name a role in FRESHLINE_DATABASE_URL that may look: the tables' owner".into())
            }
            Self::Postgres { source, .. } if tls::cause_of(source).is_some() => {
                tls::cause_of(source).map(|cause| tls::POSTGRES.remedy(cause))
            }
            Self::Postgres { .. } => Some("start it, or name the right one in FRESHLINE_DATABASE_URL".into()),
            Self::Check { source, .. } => {
                source.remedy().or_else(|| Some("start it, or name the right one in FRESHLINE_DATABASE_URL".into()))
            }
            Self::Schema(source) => source.remedy(),
            Self::DeadLetters(source) => {
                source.remedy().or_else(|| Some("start Postgres, or name the right one in FRESHLINE_DATABASE_URL".into()))
            }
            Self::Rules(source) => source.remedy(),
            Self::Broker(source) => source.remedy(),
            Self::NoRules(_) => Some("write it as schema.table, such as public.products, as the rules do".into()),
            Self::Begin(source) => source.remedy(),
            Self::RedisUrl(_) | Self::Slot(_) | Self::Output(_) | Self::Json(_) => None,
        }
    }
}

impl Trouble {
    /// It, its causes and its remedy, in one line.
    pub fn told(&self) -> String {
        in_full(self)
    }
}

impl Servers {
    /// The servers of this configuration. Nothing is connected yet.
    ///
    /// # Errors
    /// For settings that cannot be used together, or a rules file that cannot be read.
    pub fn new(config: Config) -> Result<Self, Trouble> {
        let rules = match &config.rules {
            Some(path) => Rules::read(path)?,
            None => {
                freshline::catalog::rules().map_err(|source| RulesUnread::Faults { path: "the catalogue's own".into(), source })?
            }
        };
        let redis = redis::Client::open(config.redis_url.connection_info()).map_err(Trouble::RedisUrl)?;
        Ok(Self { config, rules, redis })
    }

    /// How names are laid out in Redis.
    pub fn stripes(&self) -> &Stripes {
        &self.config.stripes
    }

    /// A client of Redis that has not connected.
    pub fn redis_client(&self) -> redis::Client {
        self.redis.clone()
    }

    /// A link to Redis.
    ///
    /// # Errors
    /// [`Trouble::Redis`].
    pub async fn redis(&self) -> Result<Link, Trouble> {
        self.redis_patient(ANSWER_WITHIN).await
    }

    /// A link to Redis, each answer of which may take as long as this.
    ///
    /// # Errors
    /// [`Trouble::Redis`].
    pub async fn redis_patient(&self, deadline: Duration) -> Result<Link, Trouble> {
        Link::connect(&self.redis, deadline).await.map_err(|source| self.no_redis(source))
    }

    /// What to say of Redis where a call to it failed.
    pub fn no_redis(&self, source: LinkError) -> Trouble {
        Trouble::Redis { address: self.config.redis_url.to_string(), source }
    }

    /// A connection to Postgres, which prints values as the stream does.
    ///
    /// # Errors
    /// [`Trouble::Postgres`].
    pub async fn postgres(&self) -> Result<PgConnection, Trouble> {
        let options = self.config.database_url.connect_options().application_name("freshline").options(TEXT_SETTINGS);
        self.asked(PgConnection::connect_with(&options)).await
    }

    /// The answer of Postgres, within the deadline.
    ///
    /// # Errors
    /// [`Trouble::Postgres`].
    pub async fn asked<T>(&self, answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, Trouble> {
        let answer = timeout(ANSWER_WITHIN, answer).await.unwrap_or_else(|late| Err(sqlx::Error::Io(late.into())));
        answer.map_err(|source| self.no_postgres(source))
    }

    /// What to say of Postgres where it did not answer.
    pub fn no_postgres(&self, source: sqlx::Error) -> Trouble {
        Trouble::Postgres { address: self.config.database_url.to_string(), source }
    }

    /// The slots that processes of ours have to have, one for each shard where they read the log themselves; none where Debezium has one
    /// of its own.
    pub fn own_slots(&self) -> Vec<OwnSlot> {
        let Config { shard, slot, .. } = &self.config;
        let of = |shard: Shard| OwnSlot {
            name: shard.name(slot),
            reader: shard.told("the invalidator"),
            variable: "FRESHLINE_SLOT and FRESHLINE_SHARD",
        };
        match self.config.source {
            SourceConfig::Postgres => shard.siblings().map(of).collect(),
            SourceConfig::Nats { .. } => vec![self.relay_slot()],
            SourceConfig::Kafka(_) => Vec::new(),
        }
    }

    /// The slot that the relay reads, where there is one.
    pub fn relay_slot(&self) -> OwnSlot {
        OwnSlot { name: self.config.relay_slot.clone(), reader: RELAY.to_owned(), variable: "FRESHLINE_RELAY_SLOT" }
    }

    /// The stream that changes begin with.
    ///
    /// # Errors
    /// [`Trouble::Slot`].
    pub fn stream(&self) -> Result<StreamSettings, Trouble> {
        let Config { shard, slot, .. } = &self.config;
        let slot = if matches!(self.config.source, SourceConfig::Nats { .. }) { self.relay_slot().name } else { shard.name(slot) };
        let slot = SlotName::new(&slot).map_err(Trouble::Slot)?;
        let server = self.config.database_url.connect_options().application_name("freshline-invalidator");
        Ok(StreamSettings { answer_deadline: ANSWER_WITHIN, ..StreamSettings::new(server, slot, &self.config.publication) })
    }

    /// A table that has rules.
    ///
    /// # Errors
    /// [`Trouble::NoRules`].
    pub fn table(&self, name: &str) -> Result<&TableName, Trouble> {
        let wanted = TableName::parse(name);
        let found = self.rules.tables().find(|table| Some(*table) == wanted.as_ref());
        found.ok_or_else(|| Trouble::NoRules(name.to_owned()))
    }
}
