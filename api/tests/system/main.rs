//! The whole system as it is run: two API replicas, the invalidator and warm runs, as processes on real servers, over HTTP.

mod degraded;
mod drain;
mod faults;
mod gap;
mod killed;
mod races;
mod rights;
mod stampede;
#[path = "../it/support.rs"]
#[allow(dead_code, reason = "shared with the other binary, which uses the rest")]
mod support;
mod town;
mod traces;
