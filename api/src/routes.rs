//! What is at which path.

use std::sync::Arc;

use axum::{Router, routing::get};
use http::{Method, Uri};

use crate::{
    app::Services,
    problem::{Problem, Subject},
    read, write,
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
    /// Whether the process lives, is ready, and what it has done.
    Operations,
    /// Anything else.
    Nowhere,
}

impl Route {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Product, Self::Products, Self::Batch, Self::Operations, Self::Nowhere];

    /// The route that a path belongs to.
    pub fn of(path: &str) -> Self {
        match path.strip_prefix("/products") {
            Some("") => Self::Products,
            Some("/batch") => Self::Batch,
            Some(rest) => match rest.strip_prefix('/') {
                Some(id) if !id.is_empty() && !id.contains('/') => Self::Product,
                _ => Self::Nowhere,
            },
            None if matches!(path, "/livez" | "/readyz" | "/metrics") => Self::Operations,
            None => Self::Nowhere,
        }
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Product => "/products/{id}",
            Self::Products => "/products",
            Self::Batch => "/products/batch",
            Self::Operations => "operations",
            Self::Nowhere => "nowhere",
        }
    }
}

/// The routes of this process, those for its operators among them.
pub fn router(services: Arc<Services>, operations: Router) -> Router {
    Router::new()
        .route(Route::Products.as_str(), get(read::list).post(write::create))
        .route(Route::Batch.as_str(), get(read::batch))
        .route(Route::Product.as_str(), get(read::product).put(write::replace).patch(write::patch).delete(write::delete))
        .merge(operations.with_state(()))
        .fallback(nowhere)
        .method_not_allowed_fallback(not_allowed)
        .with_state(services)
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
        for elsewhere in ["/", "/products/", "/productsx", "/products/a/b", ""] {
            assert_eq!(Route::of(elsewhere), Route::Nowhere, "{elsewhere}");
        }
    }
}
