//! What is at which path.

use std::sync::Arc;

use axum::Router;
use http::{Method, Uri};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    events::Events,
    health::answer as health,
    manage::{self, Gate, Manager},
    openapi,
    problem::{Problem, Subject},
    read,
    services::Services,
    web, write,
};

/// A path, as metrics name it: what callers put into it is no label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// One product.
    Product,
    /// A list of products.
    Products,
    /// Several products by id.
    Batch,
    /// The products that were made last.
    Latest,
    /// The categories.
    Categories,
    /// How everything is.
    Health,
    /// How the cache is.
    CacheHealth,
    /// The cache in numbers.
    Stats,
    /// Clearing.
    Clear,
    /// Emptying what depends on a tag.
    Tag,
    /// The cache compared with Postgres.
    Performance,
    /// Cached keys.
    Keys,
    /// One key explained.
    Explain,
    /// The live feed.
    Events,
    /// The page at `/`, and what belongs to it.
    Page,
    /// The document of this API, and the pages that show it.
    Documents,
    /// Whether the process lives, is ready, and what it has done.
    Operations,
    /// Anything else.
    Nowhere,
}

impl Route {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 18] = [
        Self::Product,
        Self::Products,
        Self::Batch,
        Self::Latest,
        Self::Categories,
        Self::Health,
        Self::CacheHealth,
        Self::Stats,
        Self::Clear,
        Self::Tag,
        Self::Performance,
        Self::Keys,
        Self::Explain,
        Self::Events,
        Self::Page,
        Self::Documents,
        Self::Operations,
        Self::Nowhere,
    ];

    /// The route that a path belongs to.
    pub fn of(path: &str) -> Self {
        match path.strip_prefix("/products") {
            Some("") => Self::Products,
            Some("/batch") => Self::Batch,
            Some("/latest") => Self::Latest,
            Some(rest) if is_one_segment(rest) => Self::Product,
            Some(_) => Self::Nowhere,
            None => Self::of_other(path),
        }
    }

    fn of_other(path: &str) -> Self {
        match path {
            "/categories" => Self::Categories,
            "/health" => Self::Health,
            "/health/cache" => Self::CacheHealth,
            "/cache/stats" => Self::Stats,
            "/cache/clear" => Self::Clear,
            "/cache/performance" => Self::Performance,
            "/cache/keys" => Self::Keys,
            "/events" => Self::Events,
            "/" => Self::Page,
            "/livez" | "/readyz" | "/metrics" => Self::Operations,
            "/openapi.json" | "/docs" | "/redoc" => Self::Documents,
            _ if path.strip_prefix("/cache/tags").is_some_and(is_one_segment) => Self::Tag,
            _ if path.strip_prefix("/cache/explain").is_some_and(is_one_segment) => Self::Explain,
            _ if ["/docs", "/redoc"].iter().any(|page| path.strip_prefix(page).is_some_and(is_one_segment)) => Self::Documents,
            _ if path.starts_with("/web/") => Self::Page,
            _ => Self::Nowhere,
        }
    }

    /// Its name: its path, where it has one.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Product => "/products/{id}",
            Self::Products => "/products",
            Self::Batch => "/products/batch",
            Self::Latest => "/products/latest",
            Self::Categories => "/categories",
            Self::Health => "/health",
            Self::CacheHealth => "/health/cache",
            Self::Stats => "/cache/stats",
            Self::Clear => "/cache/clear",
            Self::Tag => "/cache/tags/{tag}",
            Self::Performance => "/cache/performance",
            Self::Keys => "/cache/keys",
            Self::Explain => "/cache/explain/{key}",
            Self::Events => "/events",
            Self::Page => "page",
            Self::Documents => "documents",
            Self::Operations => "operations",
            Self::Nowhere => "nowhere",
        }
    }
}

/// Whether this is a slash and one segment.
fn is_one_segment(rest: &str) -> bool {
    rest.strip_prefix('/').is_some_and(|segment| !segment.is_empty() && !segment.contains('/'))
}

/// What management calls are answered with.
pub struct Management {
    /// All but the live feed.
    pub manager: Arc<Manager>,
    /// The live feed.
    pub events: Arc<Events>,
    /// Who may call.
    pub gate: Gate,
}

/// The routes that readers and writers use, those for the process's operators, and, unless they have a port of their own, those that
/// manage the cache, with the page that shows it. That port has all of them: the page there is whole.
pub fn router(services: Arc<Services>, operations: Router, management: Option<Management>) -> Router {
    let api = OpenApiRouter::with_openapi(openapi::basis())
        .routes(routes!(read::list, write::create))
        .routes(routes!(read::batch))
        .routes(routes!(read::latest))
        .routes(routes!(read::product, write::replace, write::patch, write::delete))
        .routes(routes!(read::categories))
        .routes(routes!(health::health))
        .routes(routes!(health::cache))
        .with_state(services);
    let (mut api, page) = match management {
        Some(Management { manager, events, gate }) => (api.merge(manage::router(manager, events, gate)), web::router()),
        None => (api, Router::new()),
    };
    openapi::describe_operations(api.get_openapi_mut());
    let (router, mut document) = api.split_for_parts();
    openapi::complete(&mut document);
    let router = router.merge(page).merge(openapi::router(&document)).merge(operations);
    router.fallback(nowhere).method_not_allowed_fallback(not_allowed)
}

async fn nowhere(uri: Uri) -> Problem {
    Problem::new(Subject::NoRoute, format!("{} is no path of this API.", uri.path()))
}

/// The router adds `Allow`.
async fn not_allowed(method: Method, uri: Uri) -> Problem {
    Problem::new(Subject::Method, format!("{} does not take {method}.", uri.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_under_its_route() {
        for (n, route) in Route::ALL.into_iter().enumerate() {
            assert_eq!(route as usize, n, "{route:?}");
        }
        assert_eq!(Route::of("/products/0190b5a0-0000-7000-8000-000000000000"), Route::Product);
        assert_eq!(Route::of("/products"), Route::Products);
        assert_eq!(Route::of("/products/batch"), Route::Batch);
        assert_eq!(Route::of("/products/latest"), Route::Latest);
        assert_eq!(Route::of("/cache/tags/products:category=a%2Fb"), Route::Tag);
        assert_eq!(Route::of("/docs/start.js"), Route::Documents);
        assert_eq!((Route::of("/"), Route::of("/web/app/main.js")), (Route::Page, Route::Page));
        for elsewhere in ["/webx", "/products/", "/productsx", "/products/a/b", "", "/cache/tags/", "/cache/explain/a/b", "/docsx"]
        {
            assert_eq!(Route::of(elsewhere), Route::Nowhere, "{elsewhere}");
        }
    }
}
