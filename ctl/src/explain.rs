//! `explain KEY`: what a reader would find under a key now, and why; what stands in the way of a fill; what Postgres holds.
//!
//! It looks, and neither leases nor fills.

mod shown;

use freshline::{
    cache::{self, Cache, ExplainedEntry},
    catalog::keys,
    coherence::{CacheKey, Link, LinkError, Links, Tag},
    explain::{Explained, Row, RowUnread},
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    FINDINGS, UNSEEN,
    options::Explain as Options,
    paint,
    servers::{ANSWER_WITHIN, Servers, Trouble},
};

/// Explains one key. 0: it would be served; 1: it would not; 2: not all could be looked at.
///
/// # Errors
/// Where Redis is away, or the output cannot be written.
pub async fn run(servers: &Servers, options: &Options) -> Result<u8, Trouble> {
    let explained = explain(servers, options).await?;
    let text = if options.json { serde_json::to_string_pretty(&explained)? + "\n" } else { shown::text(&explained) };
    paint::put(&text)?;
    Ok(match (explained.unseen.is_empty(), explained.is_served) {
        (false, _) => UNSEEN,
        (true, true) => 0,
        (true, false) => FINDINGS,
    })
}

async fn explain(servers: &Servers, options: &Options) -> Result<Explained, Trouble> {
    let key = CacheKey::new(&options.key);
    let tags = match options.tags.as_slice() {
        [] => keys::tags_of(&key),
        named => named.iter().map(Tag::new).collect(),
    };
    let link = servers.redis().await?;
    let mut explained = look(servers, &link, &key, &tags).await.map_err(|source| servers.no_redis(source))?;
    match row(servers, &options.key, explained.look.entry.as_ref()).await {
        Ok(row) => explained.row = row,
        Err(trouble) => explained.unseen.push(trouble.told()),
    }
    Ok(explained)
}

/// The look that a reader has.
async fn look(servers: &Servers, link: &Link, key: &CacheKey, tags: &[Tag]) -> Result<Explained, LinkError> {
    let stop = CancellationToken::new();
    let (mut links, keeper) = Links::new(servers.redis_client(), ANSWER_WITHIN);
    let looking = async {
        timeout(ANSWER_WITHIN, links.ready()).await.ok().flatten().ok_or(LinkError::Silent)?;
        let settings = cache::Settings { max_staleness: servers.config.max_staleness, ..cache::Settings::default() };
        let cache = Cache::new(links.clone(), servers.stripes().clone(), settings);
        Explained::look(&cache, link, servers.stripes(), key, tags).await
    };
    tokio::select! {
        looked = looking => looked,
        () = keeper.run(stop) => Err(LinkError::Silent),
    }
}

/// The row that the key is of.
async fn row(servers: &Servers, key: &str, entry: Option<&ExplainedEntry>) -> Result<Option<Row>, Trouble> {
    if servers.rules.row_named(key).is_none() {
        return Ok(None);
    }
    let mut connection = servers.postgres().await?;
    let reading = Row::read(&mut connection, &servers.rules, &servers.config.publication, key, entry);
    let read = timeout(ANSWER_WITHIN, reading).await.unwrap_or_else(|late| Err(sqlx::Error::Io(late.into()).into()));
    read.map_err(|unread| match unread {
        RowUnread::Schema(source) => Trouble::Schema(source),
        RowUnread::Sql(source) => servers.no_postgres(source),
    })
}
