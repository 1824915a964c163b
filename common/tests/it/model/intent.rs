//! Where histories come from: generated intents, made into calls only when their turn comes, so that they hit what is there by then:
//! the lease that lives, the generation that stands, a snapshot just before or just after the one that counts.

mod calls;
mod dice;
mod snapshots;

use proptest::prelude::*;

use super::{
    call::{Blow, Call, State},
    state::{Key, Token},
    universe::Universe,
};

#[derive(Debug, Clone, Copy)]
enum Verb {
    Tag,
    Lease,
    Fill,
    Apply,
    Raise,
    Unlink,
    Publish,
    Settle,
    Open,
    Bump,
    Lose,
    Garble,
    FlushAll,
    OtherRun,
    Save,
    Restore,
}

/// What is to be tried, and the dice that decide how. All zeros is the most ordinary way, which shrinking tends to.
#[derive(Clone)]
pub struct Intent {
    verb: Verb,
    dice: Vec<u8>,
}

impl std::fmt::Debug for Intent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let used = self.dice.iter().rposition(|die| *die != 0).map_or(0, |last| last + 1);
        write!(f, "{:?} {:?}", self.verb, &self.dice[..used])
    }
}

fn intents() -> impl Strategy<Value = Intent> {
    let verb = prop_oneof![
        11 => Just(Verb::Lease),
        17 => Just(Verb::Fill),
        16 => Just(Verb::Apply),
        9 => Just(Verb::Publish),
        6 => Just(Verb::Tag),
        6 => Just(Verb::Settle),
        4 => Just(Verb::Open),
        3 => Just(Verb::Bump),
        3 => Just(Verb::Raise),
        2 => Just(Verb::Unlink),
        3 => Just(Verb::Lose),
        3 => Just(Verb::Garble),
        1 => Just(Verb::FlushAll),
        1 => Just(Verb::OtherRun),
        1 => Just(Verb::Save),
        1 => Just(Verb::Restore),
    ];
    // Four numbers rather than 32: as many trees for proptest to keep.
    (verb, any::<[u64; 4]>()).prop_map(|(verb, numbers)| Intent { verb, dice: numbers.map(u64::to_le_bytes).concat() })
}

/// A history: how many stripes, how large its numbers are, and what is tried.
#[derive(Debug, Clone)]
pub struct History {
    pub stripe_count: u16,
    /// The least xid, log position and time. Scripts hold whole numbers below 2^53, and text would round above 10^14.
    pub bases: (u64, u64, u64),
    pub intents: Vec<Intent>,
}

/// Histories of up to `steps` steps.
pub fn histories(steps: usize) -> impl Strategy<Value = History> {
    const LARGEST: u64 = (1 << 53) - 64;
    let xids = prop_oneof![Just(3), Just((1 << 32) - 4), Just(LARGEST)];
    let lsns = prop_oneof![Just(1), Just((1 << 32) - 6), Just(LARGEST)];
    let times = prop_oneof![Just(1), Just(1_763_719_200_123_456)];
    (prop_oneof![3 => Just(1), 1 => Just(3)], (xids, lsns, times), proptest::collection::vec(intents(), 1..=steps))
        .prop_map(|(stripe_count, bases, intents)| History { stripe_count, bases, intents })
}

/// What a history has used up, so that nothing is used twice unless it is meant to be.
#[derive(Debug, Default)]
pub struct Memory {
    generations: u8,
    ids: u32,
    tokens: u32,
    versions: u32,
    /// Every lease asked for.
    asked: Vec<(Key, Token)>,
}

/// Makes calls of intents.
pub struct Maker<'a> {
    pub universe: &'a Universe,
    pub state: &'a State,
    pub memory: &'a mut Memory,
    dice: std::slice::Iter<'a, u8>,
}

impl<'a> Maker<'a> {
    pub fn new(universe: &'a Universe, state: &'a State, memory: &'a mut Memory, intent: &'a Intent) -> Self {
        Self { universe, state, memory, dice: intent.dice.iter() }
    }

    /// The call that carries out the intent, in the state that there is now.
    pub fn call(mut self, intent: &Intent) -> Call {
        match intent.verb {
            Verb::Tag => self.tag(),
            Verb::Lease => self.lease(),
            Verb::Fill => self.fill(),
            Verb::Apply => self.apply(),
            Verb::Raise => {
                let at = self.stripe();
                Call::Raise(at, self.own_or_other(at), self.lsn())
            }
            Verb::Unlink => self.unlink(),
            Verb::Publish => self.publish(),
            Verb::Settle => self.settle(),
            Verb::Open => self.open(),
            Verb::Bump => {
                let at = self.stripe();
                let change = self.change(at);
                Call::Bump(at, self.new_generation(), change)
            }
            Verb::Lose => Call::Blow(Blow::Lose(self.place())),
            Verb::Garble => Call::Blow(Blow::Garble(self.place(), self.below(8) as u8)),
            Verb::FlushAll => Call::Blow(Blow::FlushAll),
            Verb::OtherRun => Call::Blow(Blow::OtherRun(self.stripe())),
            Verb::Save => Call::Blow(Blow::Save),
            Verb::Restore => Call::Blow(Blow::Restore),
        }
    }
}
