//! What is to be compared.

use std::time::Duration;

use uuid::Uuid;

use crate::{
    form::{self, Form},
    hold::LENGTH_MAX,
    problem::Problem,
};

/// Rounds without a held commit that are run where somebody asks for held ones, and none can be: a few of a hundred meet the gap.
const NATURAL_ROUNDS: u32 = 200;

/// What is to be compared.
#[derive(Debug, Clone)]
pub struct Order {
    /// The row.
    pub id: Uuid,
    /// How long each change is held in the gap; zero: as long as it is there by itself.
    pub hold: Duration,
    /// Between two reads of either way.
    pub pause: Duration,
    /// How long the usual way keeps a value.
    pub ttl: Duration,
    /// How often the row is changed.
    pub rounds: u32,
}

impl Order {
    /// Reads it. What is left out has the value of the documentation.
    pub fn read(mut form: Form) -> Result<Self, Problem> {
        let id = form.needed("id", form::id);
        let hold = form.given("hold_ms", |value| form::millis(value, 0..=LENGTH_MAX.as_millis() as u64));
        let reads_per_s = form.given("reads_per_s", |value| form::whole::<u32>(value, 1..=200));
        let ttl = form.given("ttl_ms", |value| form::millis(value, 100..=60_000));
        let rounds = form.given("rounds", |value| form::whole(value, 1..=500));
        let order = id.map(|id| Self {
            id,
            hold: hold.unwrap_or(Duration::from_millis(1_500)),
            pause: Duration::from_secs(1) / reads_per_s.unwrap_or(40),
            ttl: ttl.unwrap_or(Duration::from_secs(8)),
            rounds: rounds.unwrap_or(3),
        });
        form.finish(order)
    }

    /// The same where no commit can be held.
    pub fn natural(self) -> Self {
        if self.hold.is_zero() { self } else { Self { hold: Duration::ZERO, rounds: self.rounds.max(NATURAL_ROUNDS), ..self } }
    }

    /// Whether changes are held.
    pub fn is_held(&self) -> bool {
        !self.hold.is_zero()
    }
}
