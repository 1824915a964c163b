//! From COMMIT to invalidated: 1,000 updates a second by plain SQL, each of a product that is cached, and for each the push by which
//! Redis says that its value was replaced or removed.
//!
//! Writes are sent at their time and not when an earlier one has ended (an open loop). The clock starts when COMMIT has returned: a
//! push that came even before that counts as 0. It is also told from when the statement was sent, which contains Postgres's part.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use freshline::catalog::keys;
use hdrhistogram::Histogram;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, PushInfo, PushKind, Value};
use stage::{Login, Source};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::cpu;
use super::house::House;
use super::report::{Row, Target};
use super::tap::Tap;

/// Writes a second.
const RATE: u32 = 1_000;

/// Writes in a round, each of another product.
const WRITES: usize = 10_000;

/// Connections that write: each is free again long before its next turn, unless Postgres lags.
const CONNECTIONS: usize = 16;

/// How long the last push may take.
const PUSH_MAX: Duration = Duration::from_secs(10);

/// When a write was sent, and when its COMMIT had returned.
struct Written {
    id: Uuid,
    sent: Instant,
    committed: Instant,
}

/// What Redis says of changed values, on a connection of its own.
struct Watch {
    _connection: MultiplexedConnection,
    pushes: mpsc::UnboundedReceiver<(Instant, PushInfo)>,
}

/// Milliseconds over one round.
#[derive(Default)]
struct Latencies {
    p50: Vec<f64>,
    p99: Vec<f64>,
}

/// What the figures of a source are called.
struct Names {
    p50: &'static str,
    p99: &'static str,
    /// Until the message is at a client of the broker: what is not ours, where the relay is not.
    there_p50: Option<&'static str>,
    p50_max: f64,
    p99_max: Option<f64>,
    writes: &'static str,
    cpu: &'static str,
}

const DIRECT: Names = Names {
    p50: "invalidation: p50 after COMMIT",
    p99: "invalidation: p99 after COMMIT",
    there_p50: None,
    p50_max: 2.0,
    p99_max: Some(10.0),
    writes: "invalidation: writes",
    cpu: "invalidation: CPU of the invalidator",
};

const NATS: Names = Names {
    p50: "invalidation: through NATS, p50 after COMMIT",
    p99: "invalidation: through NATS, p99 after COMMIT",
    there_p50: Some("invalidation: through NATS, p50 until its message is there"),
    p50_max: 10.0,
    p99_max: None,
    writes: "invalidation: through NATS, writes",
    cpu: "invalidation: through NATS, CPU of the invalidator",
};

const KAFKA: Names = Names {
    p50: "invalidation: through Debezium, p50 after COMMIT",
    p99: "invalidation: through Debezium, p99 after COMMIT",
    there_p50: Some("invalidation: through Debezium, p50 until its message is there"),
    p50_max: 50.0,
    p99_max: None,
    writes: "invalidation: through Debezium, writes",
    cpu: "invalidation: through Debezium, CPU of the invalidator",
};

/// Measures so many rounds of each source.
pub async fn measure(rounds: u32) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (source, names) in [(Source::Postgres, DIRECT), (Source::Nats, NATS), (Source::Kafka, KAFKA)] {
        rows.extend(through(source, &names, rounds).await?);
    }
    Ok(rows)
}

async fn through(source: Source, names: &Names, rounds: u32) -> Result<Vec<Row>> {
    let house = House::with_products(source, WRITES as u64).await?;
    let invalidator = house.opened().await?;
    let ids = house.ids().await?;
    let (mut committed, mut there, mut rates, mut micros) = (Latencies::default(), Latencies::default(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        house.warm().await?;
        let watch = Watch::begin(&house).await?;
        let tapped = Tapping::begin(&house, names, ids.len()).await?;
        let before = cpu::used(invalidator.pid())?;
        let written = write(&house, &ids).await?;
        let last = written.iter().map(|written| written.committed).max().context("nothing was written")?;
        let first = written.iter().map(|written| written.sent).min().context("nothing was written")?;
        rates.push(written.len() as f64 / (last - first).as_secs_f64());
        micros.push(cpu::micros_each(cpu::used(invalidator.pid())? - before, written.len()));
        let pushed = watch.first_of(&house, &ids).await?;
        committed.add(written.iter().map(|written| pushed[&written.id].saturating_duration_since(written.committed)))?;
        if let Some(tapping) = tapped {
            let came = tapping.over().await?;
            there.add(written.iter().map(|written| came[&written.id].saturating_duration_since(written.committed)))?;
        }
    }
    drop(invalidator);
    let p99 = Row::new(names.p99, "ms", committed.p99);
    let mut rows = vec![
        Row::new(names.p50, "ms", committed.p50).target(Target::AtMost(names.p50_max)),
        names.p99_max.map_or(p99.clone(), |most| p99.target(Target::AtMost(most))),
    ];
    rows.extend(names.there_p50.map(|name| Row::new(name, "ms", there.p50)));
    rows.extend([Row::new(names.writes, "writes/s", rates), Row::new(names.cpu, "µs/write", micros)]);
    Ok(rows)
}

/// Somebody else who reads the broker meanwhile, and notes when the first message of each product came.
struct Tapping(AbortOnDropHandle<Result<HashMap<Uuid, Instant>>>);

impl Tapping {
    async fn begin(house: &House, names: &Names, count: usize) -> Result<Option<Self>> {
        if names.there_p50.is_none() {
            return Ok(None);
        }
        let mut tap = Tap::after(&house.feed, house.stage.name(), None).await?;
        let last = tap.last().await?;
        let mut tap = Tap::after(&house.feed, house.stage.name(), Some(last)).await?;
        Ok(Some(Self(AbortOnDropHandle::new(tokio::spawn(async move {
            let mut came = HashMap::with_capacity(count);
            while came.len() < count {
                let tapped = tap.next().await?;
                if let Some(id) = tapped.id {
                    came.entry(id).or_insert_with(Instant::now);
                }
            }
            Ok(came)
        })))))
    }

    async fn over(self) -> Result<HashMap<Uuid, Instant>> {
        tokio::time::timeout(PUSH_MAX, self.0).await.context("not every write came to the broker")??
    }
}

impl Latencies {
    fn add(&mut self, latencies: impl Iterator<Item = Duration>) -> Result<()> {
        let mut micros = Histogram::<u64>::new(3)?;
        for latency in latencies {
            micros.record(u64::try_from(latency.as_micros())?)?;
        }
        self.p50.push(micros.value_at_quantile(0.5) as f64 / 1000.0);
        self.p99.push(micros.value_at_quantile(0.99) as f64 / 1000.0);
        Ok(())
    }
}

/// Writes each product once, at its time.
async fn write(house: &House, ids: &[Uuid]) -> Result<Vec<Written>> {
    let mut writers = JoinSet::new();
    let begin = Instant::now() + Duration::from_millis(500); // when all have connected
    for writer in 0..CONNECTIONS {
        let mut connection = house.stage.postgres().connect(house.stage.name()).await?;
        let own: Vec<(usize, Uuid)> = ids.iter().copied().enumerate().skip(writer).step_by(CONNECTIONS).collect();
        writers.spawn(async move {
            let mut written = Vec::with_capacity(own.len());
            for (n, id) in own {
                tokio::time::sleep_until((begin + Duration::from_secs(1) * u32::try_from(n)? / RATE).into()).await;
                let sent = Instant::now();
                sqlx::query("update products set price = price + 1 where id = $1").bind(id).execute(&mut connection).await?;
                written.push(Written { id, sent, committed: Instant::now() });
            }
            Ok::<_, anyhow::Error>(written)
        });
    }
    let mut all = Vec::with_capacity(ids.len());
    while let Some(written) = writers.join_next().await {
        all.extend(written??);
    }
    Ok(all)
}

impl Watch {
    /// Asks for a push about each value of the cache that changes.
    async fn begin(house: &House) -> Result<Self> {
        let url = house.stage.redis_url(Login::Superuser) + "?protocol=resp3";
        let (sender, pushes) = mpsc::unbounded_channel(); // a push for each write of the round
        let config = AsyncConnectionConfig::new().set_push_sender(move |push| sender.send((Instant::now(), push)));
        let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await?;
        let prefix = house.stripes.value(&freshline::coherence::CacheKey::new(""));
        let mut command = redis::cmd("CLIENT");
        command.arg(&["TRACKING", "ON", "BCAST", "PREFIX"]).arg(prefix);
        command.exec_async(&mut connection).await.context("asking for pushes")?;
        Ok(Self { _connection: connection, pushes })
    }

    /// When the first push about each of these products came.
    async fn first_of(mut self, house: &House, ids: &[Uuid]) -> Result<HashMap<Uuid, Instant>> {
        let names: HashMap<String, Uuid> = ids.iter().map(|id| (house.stripes.value(&keys::product(*id)), *id)).collect();
        let mut first = HashMap::with_capacity(ids.len());
        while first.len() < ids.len() {
            let push = tokio::time::timeout(PUSH_MAX, self.pushes.recv()).await;
            let Ok(Some((at, push))) = push else { bail!("of {} writes, {} were pushed", ids.len(), first.len()) };
            for id in named(&push).filter_map(|name| names.get(&name)) {
                first.entry(*id).or_insert(at);
            }
        }
        Ok(first)
    }
}

/// The keys that a push names.
fn named(push: &PushInfo) -> impl Iterator<Item = String> {
    let keys = match push.data.first() {
        Some(Value::Array(keys)) if push.kind == PushKind::Invalidate => keys.as_slice(),
        _ => &[],
    };
    keys.iter().filter_map(|key| redis::from_redis_value_ref(key).ok())
}
