//! The process put together: what requests are answered with, and the tasks that run beside them.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use freshline::{
    admin::{self, Readiness},
    breaker::Breaker,
    cache::Cache,
    catalog::{self, Reads, SessionOptions, Writes, read_pool, write_pool},
    coherence::Links,
    config::PostgresUrl,
    fault::in_full,
    registry::{Process, Registration, Role},
    server::{Tls, serve},
    shutdown::Tasks,
    telemetry::Metrics,
};
use futures::future::OptionFuture;
use sqlx::PgPool;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    config::{Config, Database, Http},
    cors,
    events::Events,
    front::Front,
    gauges::Gauges,
    health::{Postgres, Watch},
    manage::{Gate, Manager},
    routes::{self, Management},
    services::Services,
    tally::Tally,
};

/// The pools of Postgres, and what reads and writes through them.
struct Databases {
    reads: Reads,
    writes: Writes,
    /// That of the reads, for those who measure without the cache.
    pool: PgPool,
    /// All of them, by name.
    pools: [(&'static str, PgPool); 2],
}

/// Binds the port, and starts every task; the set owns them. Neither Redis nor Postgres has to be there: both are connected when they are.
pub async fn start(config: Config, stop: CancellationToken) -> Result<Tasks> {
    let Config { shared, address, limits, tls, body, database, redis_deadline, cache, publication, manage, http } = config;
    let Http { caching, cors } = http;
    let metrics = Metrics::install()?;
    let redis = redis::Client::open(shared.redis_url.connection_info()).context("FRESHLINE_REDIS_URL cannot be used")?;
    let (links, keeper) = Links::new(redis.clone(), redis_deadline);
    let Databases { reads, writes, pool, pools } = Databases::new(&shared.database_url, &database);
    let (readiness, postgres) = (Readiness::new(), Postgres::default());
    let watch = Watch::new(readiness.clone(), links.clone(), reads.clone(), postgres.clone());
    let tls = tls.map(|files| keyed(&files)).transpose()?;
    let listener = admin::bind(address).await.context("FRESHLINE_API_ADDRESS cannot be used")?;
    let own_address = listener.local_addr()?.to_string();
    info!("listening on {own_address}");
    let process = Process { address: Some(own_address.clone()), admin_address: Some(own_address), ..Process::this(Role::Api) };
    let name = process.id.clone();
    let registration = Registration::new(links.clone(), &shared.stripes, process).measured(&metrics, Some(&readiness));
    let max_staleness = cache.max_staleness;
    let cache = Cache::new(links.clone(), shared.stripes.clone(), cache);
    let gauges = Gauges { cache: cache.clone(), pools };
    let services = Arc::new(Services {
        cache,
        reads,
        writes,
        body,
        caching,
        postgres,
        tally: Tally::default(),
        links,
        stripes: shared.stripes,
        max_staleness,
        process: name,
        began: Instant::now(),
    });
    let rules = catalog::rules()?;
    let events = Events::new(redis, services.stripes.clone(), rules.clone(), services.process.clone(), stop.clone());
    let events = Arc::new(events);
    let manager = Arc::new(Manager { services: services.clone(), pool, rules, publication, measuring: Semaphore::new(1) });
    let management = Management { manager, events: events.clone(), gate: Gate(manage.token) };
    let operations = admin::router(metrics.clone(), readiness.clone());
    let (router, apart) = match manage.address {
        None => (routes::router(services, operations, Some(management)), None),
        Some(address) => {
            let whole = routes::router(services.clone(), operations.clone(), Some(management));
            let front = Front::new(whole, readiness.clone());
            (routes::router(services, operations, None), Some((bound_apart(address).await?, front)))
        }
    };
    let router = if let Some(layer) = cors::layer(&cors) { router.layer(layer) } else { router };
    let front = Front::new(router, readiness);

    // What requests need outlives the last of them.
    let served = CancellationToken::new();
    let mut tasks = Tasks::new();
    tasks.spawn_sure("the upkeep of metrics", metrics.upkeep(served.clone()));
    tasks.spawn_sure("the connection to Redis", keeper.run(served.clone()));
    tasks.spawn_sure("the record of this process", registration.run(served.clone()));
    tasks.spawn_sure("the live feed", events.run(served.clone()));
    tasks.spawn_sure("the gauges", gauges.run(served.clone()));
    tasks.spawn_sure("the watch over Redis and Postgres", watch.run(served.clone()));
    tasks.spawn_sure("the server", async move {
        let _served = served.drop_guard();
        let apart = apart.map(|(listener, front)| serve(listener, tls.clone(), front, limits, stop.clone()));
        futures::join!(serve(listener, tls, front, limits, stop), OptionFuture::from(apart));
    });
    Ok(tasks)
}

/// The certificate and the key of these files.
fn keyed((certificate, key): &(PathBuf, PathBuf)) -> Result<Tls> {
    let tls = Tls::read(certificate, key).map_err(|fault| anyhow::Error::msg(in_full(&fault)));
    tls.context("FRESHLINE_API_CERTIFICATE_FILE or FRESHLINE_API_KEY_FILE cannot be used")
}

/// The port that management calls have to themselves.
async fn bound_apart(address: SocketAddr) -> Result<TcpListener> {
    let listener = admin::bind(address).await.context("FRESHLINE_API_MANAGE_ADDRESS cannot be used")?;
    info!("management calls are answered on {}", listener.local_addr()?);
    Ok(listener)
}

impl Databases {
    /// Nothing is connected yet.
    fn new(url: &PostgresUrl, database: &Database) -> Self {
        let connect = url.connect_options().application_name("freshline-api");
        // One more than there are loads: that which asks whether Postgres is there.
        let pool = read_pool(connect.clone(), &database.sessions(database.read_sessions_max + 1));
        let write_pool = write_pool(connect, &database.sessions(database.write_sessions_max));
        let pools = [("read", pool.clone()), ("write", write_pool.clone())];
        let reads = Reads::new(pool.clone(), database.deadline()).behind(Breaker::new("postgres-reads"));
        let writes = Writes::new(write_pool, database.deadline()).behind(Breaker::new("postgres-writes"));
        Self { reads, writes, pool, pools }
    }
}

impl Database {
    fn sessions(&self, connections_max: u32) -> SessionOptions {
        SessionOptions { connections_max, acquire_timeout: self.session_wait, statement_timeout: self.statement }
    }

    /// For a whole call. Postgres keeps the statement's time itself; this is for one that no longer answers.
    fn deadline(&self) -> Duration {
        self.session_wait + self.statement
    }
}
