//! `cargo xtask up` on real servers, with programs that only pretend.

mod fake;
mod readme;
mod up;

/// Held while an `up` starts: between its look at a port and its use of it, another could take that.
static STARTING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
