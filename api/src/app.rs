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
    coherence::{Links, Stripes},
    fault::in_full,
    registry::{Process, Registration, Role},
    server::{Tls, serve},
    shutdown::Tasks,
    telemetry::Metrics,
};
use futures::future::OptionFuture;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    caching::Caching,
    config::{Body, Config, Database, Http},
    cors,
    front::Front,
    gauges::Gauges,
    health::{Postgres, Watch},
    manage::{Gate, Manager},
    routes,
    tally::Tally,
};

/// What a request is answered with.
pub struct Services {
    /// Reads go through it.
    pub cache: Cache,
    /// What it does not hold is read here.
    pub reads: Reads,
    /// Writes go here.
    pub writes: Writes,
    /// What a body may be.
    pub body: Body,
    /// What caches of others may keep.
    pub caching: Caching,
    /// Hears how Postgres answers.
    pub postgres: Postgres,
    /// Counts how readers are served.
    pub tally: Tally,
    /// The way to Redis, for those who ask how it is.
    pub links: Links,
    /// How names are laid out there.
    pub stripes: Stripes,
    /// The oldest that a value served from the cache may be.
    pub max_staleness: Duration,
    /// This process's name in the registry.
    pub process: String,
    /// When it began.
    pub began: Instant,
}

/// Binds the port, and starts every task; the set owns them. Neither Redis nor Postgres has to be there: both are connected when they are.
pub async fn start(config: Config, stop: CancellationToken) -> Result<Tasks> {
    let Config { shared, address, limits, tls, body, database, redis_deadline, cache, publication, manage, http } = config;
    let Http { caching, cors } = http;
    let metrics = Metrics::install()?;
    let redis = redis::Client::open(shared.redis_url.connection_info()).context("FRESHLINE_REDIS_URL cannot be used")?;
    let (links, keeper) = Links::new(redis, redis_deadline);
    let connect = shared.database_url.connect_options().application_name("freshline-api");
    // One more than there are loads: that which asks whether Postgres is there.
    let pool = read_pool(connect.clone(), &database.sessions(database.read_sessions_max + 1));
    let writes = write_pool(connect, &database.sessions(database.write_sessions_max));
    let pools = [("read", pool.clone()), ("write", writes.clone())];
    let reads = Reads::new(pool.clone(), database.deadline()).behind(Breaker::new("postgres-reads"));
    let writes = Writes::new(writes, database.deadline()).behind(Breaker::new("postgres-writes"));

    let (readiness, postgres) = (Readiness::new(), Postgres::default());
    let watch = Watch::new(readiness.clone(), links.clone(), reads.clone(), postgres.clone());
    let tls = tls.map(|files| keyed(&files)).transpose()?;
    let listener = admin::bind(address).await.context("FRESHLINE_API_ADDRESS cannot be used")?;
    let own_address = listener.local_addr()?.to_string();
    info!("listening on {own_address}");
    let process = Process { address: Some(own_address.clone()), admin_address: Some(own_address), ..Process::this(Role::Api) };
    let name = process.id.clone();
    let registration = Registration::new(links.clone(), &shared.stripes, process);
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
    let manager =
        Arc::new(Manager { services: services.clone(), pool, rules: catalog::rules()?, publication, measuring: Semaphore::new(1) });
    let gate = Gate(manage.token);
    let operations = admin::router(metrics.clone(), readiness.clone());
    let (router, apart) = match manage.address {
        None => (routes::public(services, operations, Some((manager, gate))), None),
        Some(address) => {
            let front = Front::new(routes::management(manager, gate), readiness.clone());
            (routes::public(services, operations, None), Some((bound_apart(address).await?, front)))
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

impl Database {
    fn sessions(&self, connections_max: u32) -> SessionOptions {
        SessionOptions { connections_max, acquire_timeout: self.session_wait, statement_timeout: self.statement }
    }

    /// For a whole call. Postgres keeps the statement's time itself; this is for one that no longer answers.
    fn deadline(&self) -> Duration {
        self.session_wait + self.statement
    }
}
