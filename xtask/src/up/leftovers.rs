//! Processes that a killed `up` left behind. Their watchdogs end them; this makes sure, whatever became of those.

use anyhow::Result;

use super::console::say;
use crate::checkout::Place;
use crate::state::State;

/// Ends what an earlier `up` wrote down as running and that still does. The caller holds the lock, so no `up` minds them any more.
pub async fn end(place: &Place) -> Result<()> {
    let Some(state) = State::read(place)? else { return Ok(()) };
    let members = state.processes.into_iter().filter_map(|member| Some((member.name, member.identity?)));
    for (name, identity) in members.filter(|(_, identity)| identity.is_alive()) {
        say("up", &format!("{name} (pid {}) was left over by an `up` that was killed: ending it", identity.pid));
        identity.end().await?;
    }
    State::remove(place)
}
