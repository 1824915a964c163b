//! Management: what operators ask of the cache, and look at. One call a file; who may call is decided in `gate.rs`, before any of them.
//!
//! Nothing here can make the cache say something untrue: clearing closes it, which is always safe, and a tag that is given another
//! version empties what depends on it. All else only looks.

mod clear;
mod explain;
mod gate;
mod keys;
mod performance;
mod stats;
mod tags;

use std::sync::Arc;

use axum::middleware::from_fn_with_state;
use freshline::{
    coherence::{Link, LinkError, NAME_LEN_MAX, Stripes},
    fault::{Classified, Kind},
    rules::Rules,
};
use sqlx::PgPool;
use tokio::sync::Semaphore;
use utoipa_axum::{router::OpenApiRouter, routes};

pub use self::gate::Gate;
use crate::{
    events::{self, Events},
    problem::{Fault, Place, Problem, Subject},
    services::Services,
};

/// What management needs besides what readers do.
pub struct Manager {
    /// What requests are answered with.
    pub services: Arc<Services>,
    /// Read-only sessions with Postgres.
    pub pool: PgPool,
    /// Which tables make which keys.
    pub rules: Rules,
    /// The publication that names those tables.
    pub publication: String,
    /// Lets one measurement run at a time.
    pub measuring: Semaphore,
}

/// The management calls, behind their gate.
pub fn router(manager: Arc<Manager>, events: Arc<Events>, gate: Gate) -> OpenApiRouter {
    let listening = OpenApiRouter::new().routes(routes!(events::events)).with_state(events);
    OpenApiRouter::new()
        .routes(routes!(stats::stats))
        .routes(routes!(clear::clear, clear::clear_by_delete))
        .routes(routes!(tags::remove))
        .routes(routes!(performance::performance))
        .routes(routes!(keys::keys))
        .routes(routes!(explain::explain))
        .with_state(manager)
        .merge(listening)
        .route_layer(from_fn_with_state(Arc::new(gate), gate::pass))
}

impl Manager {
    /// How names are laid out in Redis.
    fn stripes(&self) -> &Stripes {
        &self.services.stripes
    }

    /// The link to Redis that stands now.
    fn link(&self) -> Result<Link, Problem> {
        self.services.links.get().ok_or_else(|| away(&LinkError::Down(None)))
    }
}

/// What a caller is told where Redis gave no answer.
pub fn away(error: &LinkError) -> Problem {
    match error.kind() {
        Kind::Transient => Problem::passing(Subject::CacheAway, "Redis does not answer.", error),
        Kind::Permanent | Kind::Bug => Problem::internal(error),
    }
}

/// Whether a text can be the name of a key or tag.
fn check_name(parameter: &'static str, name: &str) -> Result<(), Problem> {
    let wrong = |detail: String| {
        let fault = Fault::new(Place::Parameter(parameter.into()), Some(name), detail, "Send the name as /cache/keys shows it.");
        Err(Problem::faulty(Subject::Request, vec![fault]))
    };
    if name.is_empty() {
        wrong(format!("{parameter} is empty."))
    } else if name.len() > NAME_LEN_MAX {
        wrong(format!("{parameter} has {} bytes, and {NAME_LEN_MAX} are the most.", name.len()))
    } else {
        Ok(())
    }
}
