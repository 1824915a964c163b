//! What is at which path.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    middleware,
    response::Response,
    routing::{get, post},
};
use freshline::{
    coherence::{Links, Stripes},
    server::Answers,
};
use http::{Method, Request, Uri};
use hyper::body::Incoming;
use serde::Serialize;
use sqlx::postgres::PgConnectOptions;
use tower::Service;

use crate::{
    clock::Clock,
    hold::{Ability, Holder},
    page,
    problem::{Problem, Subject},
    sql,
    usual::{self, Comparisons},
};

/// What requests are answered with.
pub struct Services {
    /// The Postgres that is shown, as its owner.
    pub database: PgConnectOptions,
    /// The publication that tells what changes.
    pub publication: String,
    /// The Redis that is shown.
    pub links: Links,
    /// The layout of its cache.
    pub stripes: Stripes,
    /// Asks the API.
    pub client: reqwest::Client,
    /// Holds commits.
    pub holder: Holder,
    /// Runs the comparison.
    pub comparisons: Comparisons,
    /// By which everything is told.
    pub clock: Clock,
    /// The name of this process in the registry.
    pub process: String,
}

/// Answers requests. Cheap to clone.
#[derive(Clone)]
pub struct Front(Router);

impl Front {
    /// These services, and the pages for whoever starts and stops the process.
    pub fn new(services: Arc<Services>, operations: Router) -> Self {
        let router = Router::new()
            .route("/", get(abilities))
            .route("/sql", post(sql::change))
            .route("/usual", post(usual::compare))
            .with_state(services)
            .merge(operations)
            .fallback(nowhere)
            .method_not_allowed_fallback(not_allowed);
        Self(router.layer(middleware::from_fn(page::check)).layer(page::layer()))
    }
}

impl Answers for Front {
    type Body = Body;

    async fn answer(&self, request: Request<Incoming>) -> Response {
        let Ok(response) = self.0.clone().call(request).await;
        response
    }

    fn drain(&self) {}
}

/// What can be shown here.
#[derive(Serialize)]
struct Abilities {
    sql: bool,
    usual: bool,
    holds_commits: bool,
    why_not: Option<String>,
}

async fn abilities(State(services): State<Arc<Services>>) -> Json<Abilities> {
    let why_not = match services.holder.ability() {
        Ability::Holds => None,
        Ability::Cannot(why) => Some(why),
    };
    Json(Abilities { sql: true, usual: true, holds_commits: why_not.is_none(), why_not })
}

async fn nowhere(uri: Uri) -> Problem {
    Problem::new(Subject::NoRoute, format!("{} is no path of the demonstration.", uri.path()))
}

/// The router adds `Allow`.
async fn not_allowed(method: Method, uri: Uri) -> Problem {
    Problem::new(Subject::Method, format!("{} does not take {method}.", uri.path()))
}
