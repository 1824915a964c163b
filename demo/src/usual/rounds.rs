//! The rounds: each changes the row's price, holds the commit where it is to be held, and waits until both ways have served the new one.

use std::time::{Duration, Instant};

use freshline::catalog::Price;
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;

use super::{event::Phase, failure::Failure, order::Order, scene::Scene};
use crate::hold::Holder;

/// How long a step may take that waits for nothing but a busy machine.
const STEP_MAX: Duration = Duration::from_secs(10);

/// By how much each round changes the price, in hundredths.
const STEP: u64 = 100;

/// After so long no further round begins.
const ALL_MAX: Duration = Duration::from_secs(300);

/// Changes the row, as a session that knows nothing of any cache.
pub struct Rounds {
    /// Its commits can be held.
    pub session: PgConnection,
    /// Holds them.
    pub holder: Holder,
    /// The price at first.
    pub first: Price,
    /// What it was made last.
    pub last: Price,
    /// And before that: where the last change was cut short, it may still be.
    pub before: Price,
}

impl Rounds {
    /// All of them.
    pub async fn run(&mut self, scene: &Scene, order: &Order) -> Result<(), Failure> {
        let begun = Instant::now();
        for round in 1..=order.rounds {
            within("filling both caches", STEP_MAX, scene.both_have(&self.last.to_string())).await?;
            scene.round.send_replace(round);
            let price = self.price(round, order.rounds);
            self.change(scene, order, price).await?;
            let new = price.to_string();
            let since = within("the new price's way to a new reader", STEP_MAX, scene.truth.shows(&new)).await?;
            scene.phase_at(since, Phase::Visible, &new).await;
            // What the usual way has set in the gap stays until its TTL is over.
            within("the usual way's TTL", order.ttl + STEP_MAX, scene.both_serve(&new)).await?;
            scene.phase(Phase::RoundOver, &new).await;
            if begun.elapsed() > ALL_MAX {
                break;
            }
        }
        Ok(())
    }

    /// A price that this run has not had yet: up from the first, or down where that is near the highest.
    fn price(&self, round: u32, rounds: u32) -> Price {
        let (first, step, all) = (self.first.cents(), STEP * u64::from(round), STEP * u64::from(rounds));
        let cents = if first + all <= Price::MAX.cents() { first + step } else { first - step };
        Price::from_cents(cents).unwrap_or(Price::MAX)
    }

    async fn change(&mut self, scene: &Scene, order: &Order, price: Price) -> Result<(), Failure> {
        let new = price.to_string();
        scene.phase(Phase::Began, &new).await;
        let update = async {
            let mut transaction = self.session.begin().await?;
            update(&mut transaction, scene, price).await.map(|()| transaction)
        };
        let transaction = within("an update", STEP_MAX, update).await??;
        let _held = if order.is_held() { Some(self.holder.hold(order.hold).await?) } else { None };
        scene.phase(Phase::Committing, &new).await;
        (self.before, self.last) = (self.last, price); // from here on it may be
        within("a commit", order.hold + STEP_MAX, transaction.commit()).await??;
        Ok(())
    }

    /// Makes the price what it was, unless somebody else has changed it meanwhile.
    pub async fn restore(self, session: &mut PgConnection, scene: &Scene) -> Result<(), Failure> {
        let Self { session: changing, first, last, before, .. } = self;
        drop(changing); // what it has not committed would hold the row
        let restore = "update public.products set price = $2::numeric where id = $1 and price in ($3::numeric, $4::numeric)";
        let [first, last, before] = [first, last, before].map(|price| price.to_string());
        let restore = sqlx::query(restore).bind(scene.id).bind(first).bind(last).bind(before);
        within("giving the price back", STEP_MAX, restore.execute(session)).await??;
        Ok(())
    }
}

async fn update(session: &mut PgConnection, scene: &Scene, price: Price) -> Result<(), Failure> {
    let update = sqlx::query("update public.products set price = $2::numeric where id = $1");
    let done = update.bind(scene.id).bind(price.to_string()).execute(session).await?;
    if done.rows_affected() == 0 { Err(Failure::Gone) } else { Ok(()) }
}

async fn within<T>(what: &'static str, bound: Duration, step: impl Future<Output = T>) -> Result<T, Failure> {
    timeout(bound, step).await.map_err(|_| Failure::Late { what, bound })
}
