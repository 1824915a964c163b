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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use crate::state::Member;

    #[tokio::test]
    async fn what_an_up_wrote_down_and_still_runs_is_ended() {
        let scratch = stage::servers::Home::scratch().expect("a scratch directory");
        let place = Place::at(scratch.path().join("place"));
        place.make().expect("the place is made");
        let launch = stage::Launch::new("shell", "/bin/sh").argument("-c").argument("while :; do sleep 0.05; done");
        let left = stage::Process::start(launch).expect("it starts");
        let identity = Identity::of(left.pid()).expect("it runs");
        let log = place.log("api-1");
        let member = Member { name: "api-1".into(), identity: Some(identity.clone()), address: None, admin_address: None, log };
        let state = State { processes: vec![member], ..State::begun(None).expect("a state") };
        state.write(&place).expect("it is written down");
        end(&place).await.expect("it is ended");
        assert!(!identity.is_alive());
        assert_eq!(State::read(&place).expect("a look at the state"), None);
    }
}
