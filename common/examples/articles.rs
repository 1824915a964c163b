//! A service of somebody else: articles, cached by key, and lists of them by author. `docs/own-tables.md` sets up what it needs.
//!
//! ```sh
//! cargo build --workspace --example articles
//! target/debug/examples/articles read hello
//! target/debug/examples/articles by ada
//! ```

use std::{error::Error, time::Duration};

use freshline::{
    cache::{Cache, CacheError, Found, Json, Loaded, ProofSyntax, ReadProof, Settings, Want},
    coherence::{CacheKey, Links, Stripes, Tag, push_value},
};
use serde::{Deserialize, Serialize};
use sqlx::{Executor, PgPool, Row, postgres::PgPoolOptions};
use tokio_util::sync::CancellationToken;

/// Why an article could not be read from Postgres.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error("Postgres did not answer")]
    Postgres(#[from] sqlx::Error),
    #[error("Postgres answered with something else than a proof")]
    Proof(#[from] ProofSyntax),
    #[error("the value has no JSON")]
    Json(#[from] serde_json::Error),
}

/// The oldest that Redis may be with an answer; then Postgres is asked.
const REDIS_DEADLINE: Duration = Duration::from_millis(100);

#[derive(Clone, Serialize, Deserialize)]
struct Article {
    slug: String,
    author: String,
    title: String,
}

/// Articles, read through the cache.
struct Articles {
    pool: PgPool,
    cache: Cache,
}

impl Articles {
    /// One article. Its key is what the rules file makes of its row: `articles:{slug}`.
    async fn read(&self, slug: &str) -> Result<Found<Json<Article>>, CacheError<LoadError>> {
        let key = CacheKey::new(named("articles:", slug));
        self.cache.get(&key, &Want::default(), || self.load(slug)).await
    }

    /// The slugs of an author's articles: a list, under the tag that every change of its members touches.
    async fn by(&self, author: &str) -> Result<Found<Json<Vec<String>>>, CacheError<LoadError>> {
        let (key, tag) = (CacheKey::new(named("lists:by=", author)), Tag::new(named("articles:by=", author)));
        self.cache.get_tagged(&key, &[tag], &Want::default(), || self.load_by(author)).await
    }

    /// The row and its proof, in one statement. The outer join keeps the proof where there is no such article.
    async fn load(&self, slug: &str) -> Result<Loaded<Option<Json<Article>>>, LoadError> {
        let sql = "select pg_current_snapshot()::text, current_setting('freshline.source', true), a.slug, a.author, a.title
                   from (select) as always left join articles a on a.slug = $1";
        let row = sqlx::query(sql).bind(slug).fetch_one(&self.pool).await?;
        let proof = ReadProof::parse(row.try_get(0)?, row.try_get(1)?)?;
        let value = match row.try_get::<Option<String>, _>(2)? {
            Some(slug) => Some(Json::new(Article { slug, author: row.try_get(3)?, title: row.try_get(4)? })?),
            None => None,
        };
        Ok(Loaded { value, proof })
    }

    async fn load_by(&self, author: &str) -> Result<Loaded<Option<Json<Vec<String>>>>, LoadError> {
        let sql = "select pg_current_snapshot()::text, current_setting('freshline.source', true),
                          array(select slug from articles where author = $1 order by published, slug)";
        let row = sqlx::query(sql).bind(author).fetch_one(&self.pool).await?;
        let proof = ReadProof::parse(row.try_get(0)?, row.try_get(1)?)?;
        Ok(Loaded { value: Some(Json::new(row.try_get(2)?)?), proof })
    }
}

/// A name with a value of a column in it, escaped as the rules do it.
fn named(prefix: &str, value: &str) -> String {
    let mut name = prefix.to_owned();
    push_value(&mut name, Some(value));
    name
}

/// Read-only sessions that know which history they belong to: what a session reads that does not is answered, and never cached.
async fn connect(url: &str) -> Result<PgPool, sqlx::Error> {
    let options = PgPoolOptions::new().after_connect(|session, _| {
        Box::pin(async move {
            session.execute("set default_transaction_read_only = on").await?;
            let learn =
                "select set_config('freshline.source', coalesce(freshline.source(), ''), false) where not pg_is_in_recovery()";
            session.execute(learn).await.map(drop)
        })
    });
    options.connect(url).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let stop = CancellationToken::new();
    let redis = redis::Client::open(std::env::var("BLOG_REDIS_URL")?)?;
    let (mut links, keeper) = Links::new(redis, REDIS_DEADLINE);
    let keeping = tokio::spawn(keeper.run(stop.clone()));
    links.ready().await;

    let stripes = Stripes::new("blog", 1).ok_or("a namespace is 1 to 32 letters")?;
    let pool = connect(&std::env::var("BLOG_DATABASE_URL")?).await?;
    let articles = Articles { pool, cache: Cache::new(links, stripes, Settings::default()) };

    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["read", slug] => tell(&articles.read(slug).await?, |article| format!("{:?} by {}", article.title, article.author)),
        ["by", author] => tell(&articles.by(author).await?, |slugs| slugs.join(", ")),
        _ => return Err("say `read SLUG` or `by AUTHOR`".into()),
    }
    stop.cancel();
    Ok(keeping.await?)
}

fn tell<T>(found: &Found<Json<T>>, show: impl Fn(&T) -> String) {
    let value = found.value.as_ref().map_or_else(|| "there is none".to_owned(), |value| show(value.value()));
    println!("{value}   (from {})", found.origin.as_str());
}
