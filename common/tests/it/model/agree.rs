//! Plays a history on a real Redis and on the model, and stops where they differ.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use freshline::coherence::{Link, Stripes};

use super::{
    call::{Call, Reply, State},
    dump,
    intent::{History, Maker, Memory},
    live::Live,
    state::{Stripe, Version},
    universe::Universe,
};

/// How often each outcome has been seen.
pub type Seen = BTreeMap<&'static str, usize>;

/// After how many steps the whole state is compared, beside the last. Shrinking finds the step; looking costs more than most steps.
const LOOK_EVERY: usize = 4;

/// Where Redis and the model part: everything up to there, and the two opinions.
pub struct Disagreement {
    universe: Universe,
    trace: Vec<(Call, Reply)>,
    redis: String,
    model: String,
}

/// Plays `history` on a Redis that nobody else uses.
pub async fn play(link: &Link, history: &History, seen: &mut Seen) -> Result<(), Disagreement> {
    let universe = history.universe();
    let live = Live::new(link, &universe);
    let outcome = play_on(&live, history, seen).await;
    live.clear().await.expect("Redis removes keys");
    outcome
}

async fn play_on(live: &Live<'_>, history: &History, seen: &mut Seen) -> Result<(), Disagreement> {
    let universe = live.universe;
    let (mut state, mut memory, mut trace) = (State::empty(universe), Memory::default(), Vec::new());
    let mut versions = BTreeSet::new();
    for (step, intent) in history.intents.iter().enumerate() {
        let call = Maker::new(universe, &state, &mut memory, intent).call(intent);
        let differ = |redis, model, trace| Disagreement { universe: universe.clone(), trace, redis, model };
        let reply = live.step(&call).await;
        let drawn = reply.as_ref().map(Reply::drawn).unwrap_or_default();
        let new: BTreeSet<_> = drawn.iter().filter(|version| !state.versions().any(|held| held == *version)).copied().collect();
        let expected = state.step(&call, &padded(&drawn), universe);
        trace.push((call, expected.clone()));
        match reply {
            Ok(reply) if reply == expected => {}
            other => return Err(differ(format!("answered {other:?}"), format!("answers {expected:?}"), trace)),
        }
        if let Some(used) = new.into_iter().find(|version| !versions.insert(*version)) {
            return Err(differ(format!("used {used:?} again"), "draws a new version each time".into(), trace));
        }
        if step % LOOK_EVERY == 0 || step + 1 == history.intents.len() {
            let held = dump::read(live).await.expect("Redis answers");
            if held != state.stripes {
                return Err(differ(shown(&held), shown(&state.stripes), trace));
            }
        }
        expected.outcomes().into_iter().for_each(|outcome| *seen.entry(outcome).or_default() += 1);
    }
    Ok(())
}

/// A line for each kind of key of each stripe.
fn shown(stripes: &[Stripe]) -> String {
    let lines = |stripe: &Stripe| {
        let Stripe { ctl, fences, values, leases, tags } = stripe;
        format!("\n  {ctl:?}\n  {fences:?}\n  values {values:?}\n  leases {leases:?}\n  tags {tags:?}")
    };
    stripes.iter().map(lines).collect()
}

/// Versions for a tag that the model thinks is new and Redis does not, or where Redis answered that it is closed.
fn padded(drawn: &[Version]) -> Vec<Version> {
    drawn.iter().copied().chain(std::iter::repeat_n(Version([0; 16]), 4)).collect()
}

impl History {
    fn universe(&self) -> Universe {
        let stripes = Stripes::new("model", self.stripe_count).expect("a layout");
        let (xid_base, lsn_base, at_base) = self.bases;
        Universe { stripes, xid_base, lsn_base, at_base }
    }
}

impl Disagreement {
    /// The last step, and what Redis made of it.
    pub fn gist(&self) -> String {
        let step = self.trace.last().map(|(call, _)| format!("{call:?}")).unwrap_or_default();
        let name = step.split('(').next().unwrap_or_default();
        format!("{name}: Redis {}", if self.redis.starts_with("answered") { &self.redis } else { "holds something else" })
    }
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Universe { stripes, xid_base, lsn_base, at_base } = &self.universe;
        writeln!(f, "{} stripes; xids from {xid_base}, positions from {lsn_base}, times from {at_base}", stripes.count())?;
        for (call, reply) in &self.trace {
            writeln!(f, "  {call:?}\n      -> {reply:?}")?;
        }
        writeln!(f, "Redis: {}\nthe model: {}", self.redis, self.model)
    }
}
