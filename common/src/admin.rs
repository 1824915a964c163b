//! What a process tells those who run it, over HTTP: `/metrics`, `/livez`, `/readyz`; and the server that serves it.

mod readiness;
mod router;
mod serve;

pub use readiness::{Condition, Readiness, State, Status};
pub use router::router;
pub use serve::{Limits, serve};
