//! Postgres and Redis for an `up`: private ones, or those it was told to use; and the broker of its source.

mod broker;
mod given;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use sqlx::Connection;
use stage::Login;
use stage::servers::{self, Postgres, PostgresOptions, Redis, RedisOptions, Shutdown};

use broker::Broker;

use super::Up;
use super::console::say;
use crate::checkout::Place;
use crate::identity::Identity;
use crate::state::{Member, Source, Urls, write_secret};

/// The name of our database in a private Postgres.
const DATABASE: &str = "freshline";

/// Files with the superuser's URLs, for `psql "$(cat .freshline/database-url)"`.
pub const URL_FILES: [&str; 2] = ["database-url", "redis-url"];

/// The private servers that are running, if any, and the URLs of those in use. Dropped, private ones stop.
pub struct Servers {
    broker: Broker, // Postgres last: they are dropped in this order
    redis: Option<Redis>,
    postgres: Option<Postgres>,
    postgres_urls: Urls,
    redis_urls: Urls,
}

impl Servers {
    /// Starts those that are to be private, and brings the schema and the roles up to date.
    pub async fn start(place: &Place, up: &Up) -> Result<Self> {
        if up.database_url.is_none() || up.redis_url.is_none() {
            servers::ensure()?;
        }
        if up.fresh {
            remove_data(place, up)?;
        }
        let (postgres, postgres_urls) = match &up.database_url {
            Some(url) => (None, given::postgres(place, url).await?),
            None => private_postgres(place).await.map(|(server, urls)| (Some(server), urls))?,
        };
        let (redis, redis_urls) = match &up.redis_url {
            Some(url) => (None, given::redis(url).await?),
            None => private_redis(place).await.map(|(server, urls)| (Some(server), urls))?,
        };
        for (name, url) in URL_FILES.into_iter().zip([&postgres_urls.superuser, &redis_urls.superuser]) {
            write_secret(place, name, url)?;
        }
        if let Some(postgres) = &postgres {
            forget_other_sources(place, postgres, up.source).await?;
        }
        let broker = Broker::start(place, up.source, &postgres_urls).await?;
        Ok(Self { broker, redis, postgres, postgres_urls, redis_urls })
    }

    /// The URLs of Postgres.
    pub fn postgres_urls(&self) -> &Urls {
        &self.postgres_urls
    }

    /// The URLs of Redis.
    pub fn redis_urls(&self) -> &Urls {
        &self.redis_urls
    }

    /// What stands between Postgres and the invalidator.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// The private ones, as processes.
    pub async fn members(&self) -> Result<Vec<Member>> {
        let mut members = Vec::new();
        if let Some(postgres) = &self.postgres {
            members.push(member("postgres", postgres.pid().await, postgres.port(), postgres.log_path())?);
        }
        if let Some(redis) = &self.redis {
            members.push(member("redis", redis.pid().await, redis.port(), redis.log_path())?);
        }
        for (name, server) in self.broker.servers() {
            members.push(member(name, server.pid().await, server.port(), server.log_path())?);
        }
        Ok(members)
    }

    /// Starts those again that have ended without being asked to, and says so. Whether there was one.
    pub async fn mend(&self) -> Result<bool> {
        let mut mended = false;
        if let Some(postgres) = &self.postgres
            && let Some(status) = postgres.ended().await?
        {
            say("postgres", &format!("it ended ({status}): starting it again"));
            postgres.restart(Shutdown::Immediate).await?;
            mended = true;
        }
        if let Some(redis) = &self.redis
            && let Some(status) = redis.ended().await?
        {
            say("redis", &format!("it ended ({status}): starting it again"));
            redis.restart().await?;
            mended = true;
        }
        for (name, server) in self.broker.servers() {
            if let Some(status) = server.ended().await? {
                say(name, &format!("it ended ({status}): starting it again"));
                server.restart().await?;
                say(name, "started again");
                mended = true;
            }
        }
        Ok(mended)
    }

    /// Stops the private ones: the broker, Redis, then Postgres.
    pub async fn stop(&self) -> Result<()> {
        for (name, server) in self.broker.servers().into_iter().rev() {
            server.stop().await?;
            say(name, "stopped");
        }
        if let Some(redis) = &self.redis {
            redis.stop().await?;
            say("redis", "stopped");
        }
        if let Some(postgres) = &self.postgres {
            postgres.stop(Shutdown::Fast).await?;
            say("postgres", "stopped");
        }
        Ok(())
    }
}

fn remove_data(place: &Place, up: &Up) -> Result<()> {
    if up.database_url.is_some() && up.redis_url.is_some() {
        bail!("--fresh removes the data of private instances, and both servers were given: leave it out");
    }
    for (name, given) in [("postgres", &up.database_url), ("redis", &up.redis_url)] {
        if given.is_none() {
            place.remove_server_home(name)?;
        }
    }
    broker::HOMES.iter().try_for_each(|(_, name)| place.remove_server_home(name))
}

/// Removes what an earlier `up` with another source left: its slot, which would hold back the log for ever, and its broker's data,
/// which would lack what happens meanwhile. A Postgres that was given is left alone: its slots may be somebody's.
async fn forget_other_sources(place: &Place, postgres: &Postgres, source: Source) -> Result<()> {
    for (_, name) in broker::HOMES.into_iter().filter(|(of, _)| *of != source) {
        place.remove_server_home(name)?;
    }
    let mut connection = postgres.connect(DATABASE).await?;
    for other in Source::ALL.into_iter().filter(|other| *other != source) {
        let dropped = sqlx::query("select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1")
            .bind(other.slot())
            .execute(&mut connection)
            .await
            .with_context(|| format!("dropping the slot {}", other.slot()))?;
        if dropped.rows_affected() > 0 {
            say("postgres", &format!("dropped the slot {}: nothing reads from it any more", other.slot()));
        }
    }
    connection.close().await.context("closing a connection to Postgres")
}

async fn private_postgres(place: &Place) -> Result<(Postgres, Urls)> {
    let options = PostgresOptions { durable: true, ..PostgresOptions::default() };
    let postgres = Postgres::start(place.server_home("postgres")?, options).await?;
    let mut connection = postgres.connect("postgres").await?;
    let there: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(DATABASE)
        .fetch_one(&mut connection)
        .await?;
    connection.close().await?;
    if !there {
        postgres.run(&format!("create database {DATABASE}")).await?;
    }
    let mut connection = postgres.connect(DATABASE).await?;
    stage::migrate(&mut connection).await?;
    for login in Login::ROLES {
        stage::set_password(&mut connection, login, postgres.password(login)).await?;
    }
    connection.close().await?;
    let urls = Urls::new(|login| postgres.url(login, DATABASE));
    say("postgres", &format!("Postgres {} on port {}", postgres.major(), postgres.port()));
    Ok((postgres, urls))
}

async fn private_redis(place: &Place) -> Result<(Redis, Urls)> {
    let redis = Redis::start(place.server_home("redis")?, RedisOptions::default()).await?;
    let urls = Urls::new(|login| redis.url(login));
    say("redis", &format!("{} on port {}", redis.program().display(), redis.port()));
    Ok((redis, urls))
}

fn member(name: &str, pid: Option<u32>, port: u16, log: PathBuf) -> Result<Member> {
    let identity = pid.map(Identity::of).transpose().with_context(|| format!("{name} has ended"))?;
    let address = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    Ok(Member { name: name.to_owned(), identity, address, admin_address: None, log })
}
