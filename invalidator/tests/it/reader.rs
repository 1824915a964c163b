//! A reader of the cache as a service is one: the library's own read path, with the catalogue's own queries.
//!
//! A test has what it watches cached, lets something happen, and asks that the very first read of each is what Postgres has then: what
//! the cache serves and should not is seen there, and nowhere else.

use std::time::Duration;

use bytes::Bytes;
use freshline::{
    cache::{Cache, Found, Loaded, Origin, Settings, Want},
    catalog::{DatabaseError, List, Reads, SessionOptions, Sort, keys, read_pool},
    coherence::{Links, Stripes},
};
use stage::{Login, Stage, until};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use uuid::Uuid;

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is watched: a row, or the first page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watched {
    Row(Uuid),
    List(List),
}

/// A service's cache, and what Postgres has in truth.
pub struct Reader {
    cache: Cache,
    reads: Reads,
    _keeping: AbortOnDropHandle<()>,
}

impl Watched {
    /// A list in this order, of one category or all.
    pub fn list(sort: Sort, category: Option<&str>) -> Self {
        let list = List::new(sort, 100).expect("a limit");
        Self::List(category.map_or(list.clone(), |category| list.in_category(category).expect("a category")))
    }
}

impl Reader {
    /// A reader on this stage's servers.
    pub fn on(stage: &Stage, stripes: &Stripes) -> Self {
        let client = redis::Client::open(stage.redis_url(Login::Api)).expect("a URL");
        let (links, keeper) = Links::new(client, PATIENCE);
        let connect = stage.database_url(Login::Api).parse().expect("a URL");
        let sessions = SessionOptions { connections_max: 4, acquire_timeout: PATIENCE, statement_timeout: PATIENCE };
        Self {
            cache: Cache::new(links, stripes.clone(), Settings::default()),
            reads: Reads::new(read_pool(connect, &sessions), PATIENCE),
            _keeping: AbortOnDropHandle::new(tokio::spawn(keeper.run(CancellationToken::new()))),
        }
    }

    /// One read.
    pub async fn get(&self, watched: &Watched, want: &Want) -> Found<Bytes> {
        let found = match watched {
            Watched::Row(id) => self.cache.get(&keys::product(*id), want, || self.load(watched)).await,
            Watched::List(list) => {
                self.cache.get_tagged(&keys::page(list), &[keys::page_tag(list)], want, || self.load(watched)).await
            }
        };
        found.expect("Postgres answers")
    }

    /// What Postgres has now.
    pub async fn truth(&self, watched: &Watched) -> Option<Bytes> {
        self.load(watched).await.expect("Postgres answers").value
    }

    /// Waits until the cache serves it.
    pub async fn cached(&self, watched: &Watched) -> Found<Bytes> {
        let hit = async || {
            let found = self.get(watched, &Want::default()).await;
            if found.origin == Origin::Redis { Ok(Some(found)) } else { Err(format!("{:?}, {:?}", found.refusal, found.fill)) }
        };
        until("a hit", hit).await
    }

    /// Asserts that what is read now is what Postgres has, and again once the cache serves it.
    pub async fn assert_true(&self, watched: impl IntoIterator<Item = &Watched>) {
        for watched in watched {
            let first = self.get(watched, &Want::default()).await;
            let truth = self.truth(watched).await;
            assert_eq!(first.value, truth, "{watched:?} was read from {:?}", first.origin);
            assert_eq!(self.cached(watched).await.value, truth, "{watched:?} is cached");
        }
    }

    async fn load(&self, watched: &Watched) -> Result<Loaded<Option<Bytes>>, DatabaseError> {
        Ok(match watched {
            Watched::Row(id) => self.reads.product(*id).await?.map(|row| row.map(|row| row.body)),
            Watched::List(list) => {
                self.reads.page(list).await?.map(|page| Some(serde_json::to_vec(&page.ids).expect("ids have JSON").into()))
            }
        })
    }
}
