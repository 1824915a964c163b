//! What stands between a stage's Postgres and its invalidator: nothing, our relay and a broker, or Debezium and Kafka.
//!
//! Who writes a test over all sources names one, and says what is to happen; how that is done to each is here.

mod starting;

use anyhow::{Result, bail};

use self::starting::{debezium, relay_to_kafka, relay_to_nats};
use crate::servers::{Connect, Connector, Kafka, Nats, Shutdown, Topology};
use crate::{Process, Stage};

/// Where an invalidator's changes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Postgres itself.
    Postgres,
    /// Our relay's stream in NATS JetStream.
    Nats,
    /// Our relay's topic in Kafka, with one partition.
    KafkaRelay,
    /// The same with three partitions.
    KafkaRelayPartitions,
    /// Debezium, all of it in one topic with one partition.
    Kafka,
    /// Debezium, all of it in one topic with three partitions.
    KafkaPartitions,
    /// Debezium, each table in a topic of its own, which nothing else enters.
    KafkaTables,
}

/// Makes a test of each of these bodies for each of these sources, in a module of the source's name: tests that need a broker are left
/// out by their names where none can be had. A body is an `async fn` of a [`Source`].
///
/// ```ignore
/// stage::over_sources! { [postgres: Postgres, nats: Nats, kafka: Kafka] [
///     a_deletion_is_seen,
/// ] }
///
/// async fn a_deletion_is_seen(source: stage::Source) { /* … */ }
/// ```
#[macro_export]
macro_rules! over_sources {
    ([$($module:ident: $source:ident),* $(,)?] $bodies:tt) => {
        $($crate::over_sources! { @one $module $source $bodies })*
    };
    (@one $module:ident $source:ident [$($body:ident),* $(,)?]) => {
        mod $module {
            $(
                #[tokio::test]
                async fn $body() {
                    super::$body($crate::Source::$source).await;
                }
            )*
        }
    };
}

/// How a [`Source`] is fed on one stage. Dropped, what it started is gone.
pub struct Feed {
    source: Source,
    slot: String,
    between: Between,
}

/// What stands there.
enum Between {
    Nothing,
    Relay { relay: Box<Process>, broker: Broker },
    Debezium { connector: Box<Connector>, brokers: Brokers },
}

/// Where our relay writes.
enum Broker {
    Nats(Box<Nats>),
    /// The Kafka of all tests of this process, and the topic.
    SharedKafka(&'static Kafka, String),
    /// This test's own, to be broken as it likes.
    OwnKafka(Box<Kafka>, String),
}

/// Kafka and Connect.
enum Brokers {
    /// Those of all tests of this process: the connector comes and goes.
    Shared(&'static Kafka, &'static Connect),
    /// This test's own, to be broken as it likes.
    Own { connect: Box<Connect>, kafka: Box<Kafka> },
}

impl Feed {
    /// A feed that a test does not break. Kafka and Connect are shared by all such tests, for each takes seconds to start.
    ///
    /// # Panics
    /// If a server or the relay can't be started.
    pub async fn new(stage: &Stage, source: Source) -> Self {
        Self::start(stage, source, false).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// As [`Self::new`], with a broker that is this test's alone, to break as it likes.
    ///
    /// # Panics
    /// If a server or the relay can't be started.
    pub async fn own(stage: &Stage, source: Source) -> Self {
        Self::start(stage, source, true).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    async fn start(stage: &Stage, source: Source, is_own: bool) -> Result<Self> {
        let (slot, between) = match source {
            Source::Postgres => (stage.name().to_owned(), Between::Nothing),
            Source::Nats => relay_to_nats(stage).await?,
            Source::KafkaRelay => relay_to_kafka(stage, 1, is_own).await?,
            Source::KafkaRelayPartitions => relay_to_kafka(stage, 3, is_own).await?,
            Source::Kafka => debezium(stage, Topology::OneTopic { partitions: 1 }, is_own).await?,
            Source::KafkaPartitions => debezium(stage, Topology::OneTopic { partitions: 3 }, is_own).await?,
            Source::KafkaTables => debezium(stage, Topology::TopicPerTable, is_own).await?,
        };
        Ok(Self { source, slot, between })
    }

    /// Which source it is.
    pub fn source(&self) -> Source {
        self.source
    }

    /// The slot that is read: by the invalidator, the relay or Debezium.
    pub fn slot(&self) -> &str {
        &self.slot
    }

    /// The variables by which an invalidator on `stage` reads it.
    pub fn variables(&self, stage: &Stage) -> Vec<(&'static str, String)> {
        if let Some(nats) = self.nats() {
            return vec![("FRESHLINE_SOURCE", "nats".to_owned()), ("FRESHLINE_NATS_URL", nats.server())];
        }
        let Some((kafka, topic)) = self.kafka() else { return Vec::new() };
        vec![
            ("FRESHLINE_SOURCE", "kafka".to_owned()),
            ("FRESHLINE_KAFKA_BROKERS", kafka.brokers()),
            ("FRESHLINE_KAFKA_TOPICS", topic),
            ("FRESHLINE_KAFKA_GROUP", stage.name().to_owned()),
        ]
    }

    /// The NATS that it goes through, if it does.
    pub fn nats(&self) -> Option<&Nats> {
        match &self.between {
            Between::Relay { broker: Broker::Nats(nats), .. } => Some(nats),
            Between::Nothing | Between::Relay { .. } | Between::Debezium { .. } => None,
        }
    }

    /// The Kafka that it goes through, if it does, and the topic of the products.
    pub fn kafka(&self) -> Option<(&Kafka, String)> {
        match &self.between {
            Between::Nothing | Between::Relay { broker: Broker::Nats(_), .. } => None,
            Between::Relay { broker: Broker::SharedKafka(kafka, topic), .. } => Some((kafka, topic.clone())),
            Between::Relay { broker: Broker::OwnKafka(kafka, topic), .. } => Some((kafka, topic.clone())),
            Between::Debezium { connector, brokers } => {
                let topic = connector.topic().unwrap_or_else(|| format!("{}.public.products", connector.name));
                Some((brokers.kafka(), topic))
            }
        }
    }

    /// The relay, where there is one.
    pub fn relay(&mut self) -> Option<&mut Process> {
        match &mut self.between {
            Between::Relay { relay, .. } => Some(relay),
            Between::Nothing | Between::Debezium { .. } => None,
        }
    }

    /// Ends whoever writes to the broker; the slot is read by nobody until [`Self::start_writer`]. Where there is no broker this does
    /// nothing.
    pub async fn stop_writer(&mut self) -> Result<()> {
        match &mut self.between {
            Between::Nothing => Ok(()),
            Between::Relay { relay, .. } => relay.kill().await,
            Between::Debezium { connector, brokers: Brokers::Shared(_, connect) } => connect.stop_one(&connector.name).await,
            Between::Debezium { brokers: Brokers::Own { connect, .. }, .. } => connect.kill().await,
        }
    }

    /// Starts the writer again after [`Self::stop_writer`].
    pub async fn start_writer(&mut self) -> Result<()> {
        match &mut self.between {
            Between::Nothing => Ok(()),
            Between::Relay { relay, .. } => relay.restart().await,
            Between::Debezium { connector, brokers: Brokers::Shared(_, connect) } => connect.start_one(connector).await,
            Between::Debezium { brokers: Brokers::Own { connect, .. }, .. } => connect.start_again().await,
        }
    }

    /// As [`Self::start_writer`], where the slot is gone that the writer would go on from. Debezium refuses to, and is told to forget how
    /// far it was, as its operator would.
    ///
    /// # Errors
    /// If Debezium goes on all the same, or Connect is the test's own.
    pub async fn start_writer_anew(&mut self) -> Result<()> {
        let Between::Debezium { connector, brokers } = &self.between else { return self.start_writer().await };
        let Brokers::Shared(_, connect) = brokers else { bail!("Connect is the test's own: this wants Feed::new") };
        let name = &connector.name;
        if connect.start_one(connector).await.is_ok() {
            bail!("Debezium went on as if its slot were there");
        }
        connect.stop_one(name).await?;
        connect.forget_one(name).await?;
        connect.start_one(connector).await
    }

    /// Kills whoever reads the slot for others with -9 and starts it again: the relay, an own Connect, or the walsender where the
    /// invalidator reads it itself.
    ///
    /// # Errors
    /// If Connect is shared.
    pub async fn restart_writer(&mut self, stage: &Stage) -> Result<()> {
        match &self.between {
            Between::Debezium { brokers: Brokers::Shared(..), .. } => bail!("Connect is shared: this wants Feed::own"),
            Between::Nothing => {
                let end = format!(
                    "select pg_terminate_backend(active_pid, 10000) from pg_replication_slots where slot_name = '{}'",
                    self.slot
                );
                stage.sql(&end).await;
                Ok(())
            }
            Between::Relay { .. } | Between::Debezium { .. } => {
                self.stop_writer().await?;
                self.start_writer().await
            }
        }
    }

    /// Kills the broker with -9 and starts it again; where there is none, stops Postgres in order and starts it again.
    ///
    /// # Errors
    /// If the broker is shared.
    pub async fn restart_broker(&self, stage: &Stage) -> Result<()> {
        match &self.between {
            Between::Nothing => stage.postgres().restart(Shutdown::Fast).await,
            Between::Relay { broker: Broker::Nats(nats), .. } => nats.restart().await,
            Between::Relay { broker: Broker::OwnKafka(kafka, _), .. } => kafka.restart().await,
            Between::Relay { broker: Broker::SharedKafka(..), .. } => bail!("Kafka is shared: this wants Feed::own"),
            Between::Debezium { brokers: Brokers::Own { kafka, .. }, .. } => kafka.restart().await,
            Between::Debezium { brokers: Brokers::Shared(..), .. } => bail!("Kafka is shared: this wants Feed::own"),
        }
    }
}

impl Brokers {
    fn kafka(&self) -> &Kafka {
        match self {
            Self::Shared(kafka, _) => kafka,
            Self::Own { kafka, .. } => kafka,
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let Between::Debezium { connector, brokers: Brokers::Shared(_, connect) } = &self.between else { return };
        if let Err(error) = connect.remove(&connector.name) {
            eprintln!("stage: {error:#}");
        }
    }
}
