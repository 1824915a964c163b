//! One comparison, from its preparation to its cleaning up.

use std::sync::Arc;

use freshline::{catalog::Price, registry, telemetry::chain};
use sqlx::PgConnection;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    cached::{self, Cached},
    consumer::Consumer,
    event::{Event, Tally},
    failure::Failure,
    freshline::Replicas,
    order::Order,
    readers::Readers,
    rounds::Rounds,
    scene::Scene,
};
use crate::{
    hold::Ability,
    problem::{Problem, Subject},
    routes::Services,
    sql,
};

/// A comparison that is ready to be run.
pub struct Run {
    order: Order,
    scene: Scene,
    looker: PgConnection,
    readers: Readers,
    rounds: Rounds,
    consumer: Consumer,
    /// For what comes after the last round.
    cleaner: PgConnection,
    _turn: OwnedSemaphorePermit,
}

impl Run {
    /// Connects all that takes part, and looks whether it is there.
    pub async fn prepare(
        order: Order,
        services: Arc<Services>,
        events: mpsc::Sender<Event>,
        turn: OwnedSemaphorePermit,
    ) -> Result<Self, Problem> {
        let order = if services.holder.ability() == Ability::Holds { order } else { order.natural() };
        let connect = async |can_be_held| sql::connect(&services.database, can_be_held).await.map_err(sql::away);
        let mut looker = connect(false).await?;
        let first = price(&mut looker, &order).await?;
        let replicas = replicas(&services, &order).await?;
        let (key, links) = (cached::key(&services.stripes, order.id), services.links.clone());
        let cached =
            Cached { session: connect(false).await?, links: links.clone(), key: key.clone(), ttl: order.ttl, id: order.id };
        let session = connect(order.is_held()).await?;
        let consumer = Consumer::start(services.database.clone(), &services.publication).await;
        let consumer = consumer.map_err(|failure| Problem::new(Subject::Unavailable, format!("{}.", failure.detail())))?;
        Ok(Self {
            scene: Scene::new(order.id, key, links, events, services.clock),
            order,
            looker,
            readers: Readers { cached, replicas, usual: Tally::default(), freshline: Tally::default() },
            rounds: Rounds { session, holder: services.holder.clone(), first, last: first, before: first },
            consumer,
            cleaner: connect(false).await?,
            _turn: turn,
        })
    }

    /// Runs it until its end, until `stop`, or until nobody listens any more; then cleans up, and tells how it ended.
    pub async fn carry_out(mut self, stop: &CancellationToken) {
        info!("the usual way is compared with Freshline, in {} rounds", self.order.rounds);
        let outcome = self.compare(stop).await;
        let Self { scene, readers, rounds, consumer, mut cleaner, .. } = self;
        let cleaned = async {
            consumer.close().await?;
            cached::delete(&scene.links, &scene.key).await?;
            rounds.restore(&mut cleaner, &scene).await
        };
        if let Err(failure) = cleaned.await {
            warn!("the comparison did not clean up: {}", failure.detail());
        }
        match outcome {
            None => info!("the comparison was left before its end"),
            Some(Ok(())) => scene.tell(Event::End { usual: readers.usual, freshline: readers.freshline }).await,
            Some(Err(failure)) => {
                warn!("the comparison failed: {}", failure.detail());
                scene.tell(scene.failed(failure.detail())).await;
            }
        }
    }

    /// All parts at once, until the last round is over or one of them fails; `None` where it was left before that.
    async fn compare(&mut self, stop: &CancellationToken) -> Option<Result<(), Failure>> {
        let Self { order, scene, looker, readers, rounds, consumer, .. } = self;
        let first = rounds.first.to_string();
        let reading = async {
            scene.truth.shows(&first).await; // no read can be judged before
            readers.run(scene, order.pause, !order.is_held()).await
        };
        let result = tokio::select! {
            over = rounds.run(scene, order) => return Some(over),
            () = stop.cancelled() => return None,
            () = scene.gone() => return None,
            failed = scene.truth.look(looker, order.id) => failed,
            failed = consumer.run(scene) => failed,
            failed = reading => failed,
        };
        Some(result.map(|never| match never {}))
    }
}

async fn price(session: &mut PgConnection, order: &Order) -> Result<Price, Problem> {
    let price = sqlx::query_scalar("select price::text from public.products where id = $1").bind(order.id);
    let price: Option<String> = price.fetch_optional(session).await.map_err(sql::away)?;
    let price = price.ok_or_else(|| sql::no_product(order.id))?;
    price.parse().map_err(|error| Problem::new(Subject::Unavailable, format!("Its price {price} cannot be changed: {error}.")))
}

async fn replicas(services: &Services, order: &Order) -> Result<Replicas, Problem> {
    let away = |detail: String| Problem::new(Subject::Unavailable, detail);
    let link = services.links.get().ok_or_else(|| away("There is no connection to Redis.".to_owned()))?;
    let processes = registry::processes(&link, &services.stripes).await;
    let processes = processes.map_err(|error| away(format!("Redis: {}.", chain(&error))))?;
    let replicas = Replicas::among(&processes, services.client.clone(), order.id);
    replicas.ok_or_else(|| away("No replica of the API is registered: start one.".to_owned()))
}
