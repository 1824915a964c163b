//! What the operations are for: while everybody does their duties, I1 to I4 hold after each step, and at rest the cache is
//! Postgres; and each duty, neglected, breaks one of them.

use std::cell::Cell;

use freshline::coherence::Stripes;
use proptest::{
    prelude::*,
    strategy::{Strategy, ValueTree},
    test_runner::{TestCaseError, TestError},
};
use rstest::rstest;

use super::{
    runner,
    universe::Universe,
    world::{Neglected, World},
};

const WORLDS: u32 = 1500;
const STEPS: usize = 120;

/// Within so many worlds the neglect of a duty has to be noticed.
const WORLDS_MAX: u32 = 10_000;

/// A world to be: how many stripes, whether Redis suffers often, and what is done in it.
#[derive(Debug, Clone)]
struct Plan {
    stripe_count: u16,
    is_stormy: bool,
    steps: Vec<[u8; 3]>,
}

fn plans() -> impl Strategy<Value = Plan> {
    let step = any::<u32>().prop_map(|dice| [dice as u8, (dice >> 8) as u8, (dice >> 16) as u8]);
    let steps = proptest::collection::vec(step, STEPS / 2..=STEPS);
    (prop_oneof![Just(1), Just(3)], any::<bool>(), steps).prop_map(|(stripe_count, is_stormy, steps)| Plan {
        stripe_count,
        is_stormy,
        steps,
    })
}

impl Plan {
    fn world(&self, neglected: Neglected) -> World {
        let stripes = Stripes::new("world", self.stripe_count).expect("a layout");
        World::new(Universe { stripes, xid_base: 3, lsn_base: 1, at_base: 1 }, self.is_stormy, neglected)
    }

    /// What everybody did until it broke.
    fn story(&self, neglected: Neglected) -> String {
        let mut world = self.world(neglected);
        world.story = Some(Vec::new());
        let broken = broken_in(&mut world, &self.steps);
        format!("{}\n{}", world.story.unwrap_or_default().join("\n"), broken.unwrap_or_default())
    }
}

/// Lets everybody take these steps, and says what breaks.
fn broken_in(world: &mut World, steps: &[[u8; 3]]) -> Option<String> {
    let broken = steps.iter().find_map(|dice| {
        world.step(*dice);
        world.broken()
    });
    broken.or_else(|| world.broken_at_rest())
}

#[test]
fn whoever_does_their_duties_keeps_the_invariants() {
    let (filled, checked) = (Cell::new(0), Cell::new(0));
    let outcome = runner(WORLDS, file!()).run(&plans(), |plan| {
        let mut world = plan.world(Neglected::Nothing);
        if broken_in(&mut world, &plan.steps).is_some() {
            return Err(TestCaseError::fail(plan.story(Neglected::Nothing)));
        }
        filled.set(filled.get() + world.filled);
        checked.set(checked.get() + world.checked);
        Ok(())
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(broken, _)) => panic!("{broken}"),
        Err(other) => panic!("{other}"),
    }
    println!("{} fills, {} looks at an entry", filled.get(), checked.get());
    assert!(filled.get() > 2 * WORLDS as usize && checked.get() > 10 * WORLDS as usize, "too little happened to show anything");
}

#[rstest]
#[case(Neglected::AcknowledgeVisible)]
#[case(Neglected::ReplayBeforeOpen)]
#[case(Neglected::OpenWithPending)]
#[case(Neglected::OpenWithHi)]
#[case(Neglected::PublishReached)]
#[case(Neglected::FastPublished)]
#[case(Neglected::GiantFencesFirst)]
#[case(Neglected::TagsBeforeRead)]
#[case(Neglected::PageTested)]
#[case(Neglected::StandbyWaits)]
fn a_neglected_duty_breaks_an_invariant(#[case] neglected: Neglected) {
    let (mut runner, plans) = (runner(WORLDS_MAX, file!()), plans());
    let found = (1..=WORLDS_MAX).find_map(|played| {
        let plan = plans.new_tree(&mut runner).expect("a plan").current();
        broken_in(&mut plan.world(neglected), &plan.steps).map(|broken| (played, broken))
    });
    let (played, broken) = found.unwrap_or_else(|| panic!("{neglected:?} is missed by nothing"));
    println!("{neglected:?}: world {played}, {broken}");
}
