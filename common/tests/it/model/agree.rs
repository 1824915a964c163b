//! Plays a history on a real Redis and on the model, and stops where they differ.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use freshline::coherence::{Link, Stripes};

use super::{
    call::{Call, Reply, State},
    dump,
    intent::{History, Intent, Maker, Memory},
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
    let outcome = Play::new(&universe).intents(&live, &history.intents, seen).await;
    live.clear().await.expect("Redis removes keys");
    outcome
}

/// A history under way: the model's state, and what has been used up.
pub struct Play<'a> {
    universe: &'a Universe,
    pub state: State,
    memory: Memory,
    trace: Vec<(Call, Reply)>,
    drawn: BTreeSet<Version>,
}

impl<'a> Play<'a> {
    pub fn new(universe: &'a Universe) -> Self {
        let (state, memory) = (State::empty(universe), Memory::default());
        Self { universe, state, memory, trace: Vec::new(), drawn: BTreeSet::new() }
    }

    /// Tries what is intended, and looks at everything every few steps and after the last.
    pub async fn intents(&mut self, live: &Live<'_>, intents: &[Intent], seen: &mut Seen) -> Result<(), Disagreement> {
        for (step, intent) in intents.iter().enumerate() {
            let call = Maker::new(self.universe, &self.state, &mut self.memory, intent).call(intent);
            let reply = self.call(live, call).await?;
            reply.outcomes().into_iter().for_each(|outcome| *seen.entry(outcome).or_default() += 1);
            if step % LOOK_EVERY == 0 || step + 1 == intents.len() {
                self.look(live).await?;
            }
        }
        Ok(())
    }

    /// Carries out one call on both sides.
    pub async fn call(&mut self, live: &Live<'_>, call: Call) -> Result<Reply, Disagreement> {
        let reply = live.step(&call).await;
        let drawn = reply.as_ref().map(Reply::drawn).unwrap_or_default();
        let new: BTreeSet<_> =
            drawn.iter().filter(|version| !self.state.versions().any(|held| held == *version)).copied().collect();
        let expected = self.state.step(&call, &padded(&drawn), self.universe);
        self.trace.push((call, expected.clone()));
        match reply {
            Ok(reply) if reply == expected => {}
            other => return Err(self.disagreement(format!("answered {other:?}"), format!("answers {expected:?}"))),
        }
        if let Some(used) = new.into_iter().find(|version| !self.drawn.insert(*version)) {
            return Err(self.disagreement(format!("used {used:?} again"), "draws a new version each time".into()));
        }
        Ok(expected)
    }

    /// Compares all that lies in Redis.
    pub async fn look(&mut self, live: &Live<'_>) -> Result<(), Disagreement> {
        let held = dump::read(live).await.expect("Redis answers");
        if held == self.state.stripes { Ok(()) } else { Err(self.disagreement(shown(&held), shown(&self.state.stripes))) }
    }

    fn disagreement(&mut self, redis: String, model: String) -> Disagreement {
        Disagreement { universe: self.universe.clone(), trace: std::mem::take(&mut self.trace), redis, model }
    }
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
    pub fn universe(&self) -> Universe {
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
