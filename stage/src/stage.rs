//! What a test stands on.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, PgPool};
use tokio::sync::OnceCell;

use crate::database::{Login, migrate, set_password};
use crate::servers::{self, Home, Postgres, PostgresOptions, Redis, RedisOptions};
use crate::until::{Probe, until};
use crate::{Launch, Proxy, RuleCutter, workspace_binary};

/// The database that each test's own is copied from.
const TEMPLATE: &str = "freshline_template";

/// One server for all tests of this process. It is never dropped: its watchdog ends it when the process is gone.
static SHARED: OnceCell<Arc<Postgres>> = OnceCell::const_new();

/// What a test stands on: a database of its own with the migrations applied, and a Redis of its own. Both are gone when it is dropped.
pub struct Stage {
    pool: PgPool,
    redis: Redis,
    postgres: Arc<Postgres>,
    name: String,
    /// Whether the server is this test's too, and is stopped with it.
    own: bool,
}

impl Stage {
    /// A fresh database on the Postgres that all tests of this process share, and a Redis of its own.
    ///
    /// The server is shared: a test that holds a transaction open delays the making of slots in all others, and one that sets
    /// parameters, kills backends or restarts it wants [`Self::own`].
    ///
    /// # Panics
    /// If a server can't be started: with what to install, or the end of its log.
    pub async fn new() -> Self {
        let shared = SHARED
            .get_or_try_init(async || Ok::<_, anyhow::Error>(Arc::new(start_postgres(PostgresOptions::default()).await?)))
            .await;
        let postgres = Arc::clone(shared.unwrap_or_else(|error| panic!("{error:#}")));
        Self::on(postgres, false, RedisOptions::default()).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// As [`Self::new`], on a Postgres that is this test's alone, to break as it likes. It takes a second or two more.
    ///
    /// # Panics
    /// If a server can't be started.
    pub async fn own() -> Self {
        Self::own_with(PostgresOptions::default(), RedisOptions::default()).await
    }

    /// As [`Self::own`], on servers that are like this.
    ///
    /// # Panics
    /// If a server can't be started.
    pub async fn own_with(postgres: PostgresOptions, redis: RedisOptions) -> Self {
        let postgres = start_postgres(postgres).await.unwrap_or_else(|error| panic!("{error:#}"));
        Self::on(Arc::new(postgres), true, redis).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    async fn on(postgres: Arc<Postgres>, own: bool, redis: RedisOptions) -> Result<Self> {
        let redis = Redis::start(Home::scratch()?, redis).await?;
        let name = format!("t{}", &uuid::Uuid::new_v4().simple().to_string()[..15]);
        postgres.run(&format!("create database {name} template {TEMPLATE}")).await?;
        let pool = PgPoolOptions::new().max_connections(8).connect_lazy(&postgres.url(Login::Superuser, &name))?;
        Ok(Self { pool, redis, postgres, name, own })
    }

    /// A name that no other test has: of the database, and good for a namespace and a slot (16 characters of `a-z0-9`).
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The Postgres, shared or own.
    pub fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    /// The Redis, this test's own.
    pub fn redis(&self) -> &Redis {
        &self.redis
    }

    /// The URL of this test's database for `login`.
    pub fn database_url(&self, login: Login) -> String {
        self.postgres.url(login, &self.name)
    }

    /// The URL of this test's Redis for `login`.
    pub fn redis_url(&self, login: Login) -> String {
        self.redis.url(login)
    }

    /// Connections of the superuser to this test's database.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Runs statements, separated by `;`, as the superuser, and answers with the log's insert position after them: a stream that has
    /// come this far has them.
    ///
    /// # Panics
    /// If one of them fails.
    pub async fn sql(&self, sql: &str) -> u64 {
        let done = async {
            let mut connection = self.pool.acquire().await?;
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await?;
            sqlx::query_scalar::<_, String>("select (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::text")
                .fetch_one(&mut *connection)
                .await
        };
        let position = done.await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        position.parse().expect("a position in bytes")
    }

    /// The one value of the one row that a query answers with.
    ///
    /// # Panics
    /// If the query fails, has no row or another type.
    pub async fn value<T>(&self, sql: &str) -> T
    where
        T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        let value = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&self.pool).await;
        value.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// See [`until`].
    pub async fn until<P: Probe>(&self, what: &str, condition: impl AsyncFnMut() -> P) -> P::Found {
        until(what, condition).await
    }

    /// A proxy before this test's Redis.
    pub async fn redis_proxy(&self) -> Proxy {
        Proxy::to(local(self.redis.port())).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// A proxy before this test's Redis that cuts these rules out of the scripts.
    pub async fn rule_cutter(&self, rules: &[&str]) -> RuleCutter {
        RuleCutter::to(local(self.redis.port()), rules).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// A proxy before the Postgres of this test.
    pub async fn postgres_proxy(&self) -> Proxy {
        Proxy::to(local(self.postgres.port())).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// The program `name` of this workspace, to be run as `login` on this test's servers: `FRESHLINE_DATABASE_URL`, `_REDIS_URL` and
    /// `_NAMESPACE` are set, and for the invalidator `FRESHLINE_SLOT`, for slots belong to the whole server. Set again on the
    /// answer, a variable takes its last value.
    ///
    /// # Panics
    /// If it has not been built by `cargo build --workspace`.
    pub fn launch(&self, name: &str, login: Login) -> Launch {
        let program = workspace_binary(name).unwrap_or_else(|error| panic!("{error:#}"));
        let launch = Launch::new(name, program).variables([
            ("FRESHLINE_DATABASE_URL", self.database_url(login)),
            ("FRESHLINE_REDIS_URL", self.redis_url(login)),
            ("FRESHLINE_NAMESPACE", self.name.clone()),
        ]);
        if login == Login::Invalidator { launch.variable("FRESHLINE_SLOT", &self.name) } else { launch }
    }

    /// Drops the slots of this test's database, then the database.
    async fn tear_down(postgres: &Postgres, name: &str) -> Result<()> {
        let mut connection = postgres.connect("postgres").await?;
        for statement in [
            "select pg_terminate_backend(active_pid, 10000) from pg_replication_slots where database = $1 and active",
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = $1",
        ] {
            sqlx::query(statement)
                .bind(name)
                .execute(&mut connection)
                .await
                .with_context(|| format!("dropping the slots of {name}"))?;
        }
        let drop = format!("drop database {name} with (force)");
        sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut connection).await.with_context(|| format!("dropping {name}"))?;
        Ok(connection.close().await?)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if self.own {
            return; // the whole server goes
        }
        // Dropping can't await, and this runtime may be ending: another one, on a thread of its own, does it.
        let (postgres, name) = (Arc::clone(&self.postgres), self.name.clone());
        let thread = std::thread::spawn(move || -> Result<()> {
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(Self::tear_down(&postgres, &name))
        });
        match thread.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => eprintln!("stage: {error:#}"),
            Err(_) => eprintln!("stage: tearing {} down panicked", self.name),
        }
    }
}

/// A server with the template in it.
async fn start_postgres(options: PostgresOptions) -> Result<Postgres> {
    servers::ensure()?;
    let postgres = Postgres::start(Home::scratch()?, options).await?;
    postgres.run(&format!("create database {TEMPLATE}")).await?;
    let mut connection = postgres.connect(TEMPLATE).await?;
    migrate(&mut connection).await?;
    for login in Login::ROLES {
        set_password(&mut connection, login, postgres.password(login)).await?;
    }
    connection.close().await?;
    Ok(postgres)
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}
