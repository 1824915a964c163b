//! The usual cache-aside reader: GET; on a miss SELECT, and SET with a TTL.

use std::time::Duration;

use freshline::coherence::{Link, Links, Stripes};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{event::Source, failure::Failure, readers::Found};

/// The key of a row, in the usual way: beside all of Freshline's, which begin otherwise.
pub fn key(stripes: &Stripes, id: Uuid) -> String {
    format!("usual:{}:products:{id}", stripes.namespace())
}

/// Reads one row in the usual way.
pub struct Cached {
    /// For misses, under the default isolation, as any service has it.
    pub session: PgConnection,
    /// Redis.
    pub links: Links,
    /// Of the row.
    pub key: String,
    /// How long a value is kept.
    pub ttl: Duration,
    /// The row.
    pub id: Uuid,
}

impl Cached {
    /// Reads it.
    pub async fn read(&mut self) -> Result<Found, Failure> {
        let link = link(&self.links)?;
        let mut get = redis::cmd("GET");
        get.arg(&self.key);
        if let Some(value) = link.call::<Option<String>>(&get).await? {
            return Ok(Found { value, source: Source::Cache });
        }
        let price = sqlx::query_scalar("select price::text from public.products where id = $1").bind(self.id);
        let value: String = price.fetch_optional(&mut self.session).await?.ok_or(Failure::Gone)?;
        let mut set = redis::cmd("SET");
        set.arg(&self.key).arg(&value).arg("PX").arg(self.ttl.as_millis() as u64);
        link.call::<()>(&set).await?;
        Ok(Found { value, source: Source::Postgres })
    }
}

/// Deletes the key.
pub async fn delete(links: &Links, key: &str) -> Result<(), Failure> {
    let mut delete = redis::cmd("DEL");
    delete.arg(key);
    Ok(link(links)?.call::<u64>(&delete).await.map(drop)?)
}

fn link(links: &Links) -> Result<Link, Failure> {
    links.get().ok_or(Failure::NoRedis)
}
