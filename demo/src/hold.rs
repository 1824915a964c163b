//! Holding a commit in the gap: logged and streamed, but not visible, for a bounded time.
//!
//! A commit waits for a synchronous standby that is not there ([`MARKER`]); that setting is the whole server's. So that nobody else has to
//! wait, the default of every other session becomes `synchronous_commit = local` for as long: where there is no standby, that is what `on`
//! means. Only who asks for `on` in so many words waits, and that is who is held. What still waits for it: the next writer of the same row,
//! and whoever makes a replication slot.
//!
//! Whatever happens, it is let go. One task owns the setting: it lets go when the time is over, when whoever asked for it has gone (which
//! a panic is, too), and when the process ends. After a kill -9 the next start finds the marker and lets go; until then nobody but who
//! was held waits, also where the server is restarted meanwhile.

mod session;

use std::{sync::Arc, time::Duration};

use freshline::{
    admin::Readiness,
    fault::{Classified, Kind},
    retry::{Policy, retry},
};
use sqlx::postgres::PgConnectOptions;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::session::{Left, Session};

/// The longest that a commit may be held. The next writer of its row waits as long, or is turned away: by the API after two seconds.
pub const LENGTH_MAX: Duration = Duration::from_secs(3);

/// The standby that a held commit waits for. No standby calls itself so, and nobody else sets this name.
const MARKER: &str = "nobody_freshline_demo";

/// The condition that nothing is held from before.
const NOTHING_LEFT: &str = "nothing held from before";

/// Between two tries to let go.
const PAUSE: Duration = Duration::from_millis(100);

/// Whether commits can be held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ability {
    /// They can.
    Holds,
    /// They cannot, and this is why.
    Cannot(String),
}

/// Why no commit is held.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// Another one is.
    #[error("another commit is held")]
    Busy,
    /// None can be.
    #[error("{0}")]
    Cannot(String),
    /// Postgres has taken the setting, and commits went on all the same.
    #[error("commits did not wait, although they were told to")]
    NoEffect,
    /// Postgres refused, or is away.
    #[error("Postgres could not be told to hold commits")]
    Sql(#[from] sqlx::Error),
    /// Postgres did not answer.
    #[error("Postgres did not answer within {} ms", .0.as_millis())]
    Silent(Duration),
    /// The process ends.
    #[error("the demonstration is ending")]
    Ending,
}

impl Classified for HoldError {
    fn kind(&self) -> Kind {
        match self {
            Self::Busy | Self::NoEffect | Self::Sql(_) | Self::Silent(_) => Kind::Transient,
            Self::Cannot(_) | Self::Ending => Kind::Permanent,
        }
    }
}

/// Asks for commits to be held. Cheap to clone.
#[derive(Clone)]
pub struct Holder {
    orders: mpsc::Sender<Order>,
    turn: Arc<Semaphore>,
    ability: watch::Receiver<Ability>,
}

/// From now on a commit by a session with `synchronous_commit = on` is held. Dropped, it is let go.
pub struct Held {
    _let_go: oneshot::Sender<()>,
}

struct Order {
    length: Duration,
    answer: oneshot::Sender<Result<Held, HoldError>>,
    _turn: OwnedSemaphorePermit,
}

/// The task that owns the setting.
pub struct Keeper {
    server: PgConnectOptions,
    orders: mpsc::Receiver<Order>,
    ability: watch::Sender<Ability>,
    readiness: Readiness,
}

impl Holder {
    /// One for this server, as a superuser, and the task that does it.
    pub fn new(server: PgConnectOptions, readiness: Readiness) -> (Self, Keeper) {
        readiness.unready(NOTHING_LEFT, "Postgres has not been asked yet");
        let (sender, orders) = mpsc::channel(1);
        let (ability, known) = watch::channel(Ability::Cannot("Postgres has not been asked yet".to_owned()));
        let holder = Self { orders: sender, turn: Arc::new(Semaphore::new(1)), ability: known };
        (holder, Keeper { server, orders, ability, readiness })
    }

    /// Whether commits can be held.
    pub fn ability(&self) -> Ability {
        self.ability.borrow().clone()
    }

    /// Holds commits from now on, for `length` at most; returns once one has been seen to wait.
    pub async fn hold(&self, length: Duration) -> Result<Held, HoldError> {
        let turn = Arc::clone(&self.turn).try_acquire_owned().map_err(|_| HoldError::Busy)?;
        let (answer, answered) = oneshot::channel();
        let order = Order { length: length.min(LENGTH_MAX), answer, _turn: turn };
        self.orders.send(order).await.map_err(|_| HoldError::Ending)?;
        answered.await.map_err(|_| HoldError::Ending)?
    }
}

impl Keeper {
    /// Lets go of what is held from before, then holds and lets go as it is asked to, until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let Ok(mut session) = self.connected(&stop).await else { return };
        loop {
            let Some(Some(order)) = stop.run_until_cancelled(self.orders.recv()).await else { return };
            session = self.carry_out(session, order, &stop).await;
        }
    }

    /// Connects, for as long as it takes, and sees to what is held from before.
    async fn connected(&self, stop: &CancellationToken) -> Result<Session, ()> {
        let begin = || async {
            let mut session = Session::connect(&self.server).await?;
            let ability = prepared(&mut session).await?;
            Ok::<_, HoldError>((session, ability))
        };
        let (session, ability) = retry("the look at what commits wait for", Policy::FOR_EVER, stop, begin)
            .await
            .map_err(|given_up| info!("{given_up}"))?;
        if let Ability::Cannot(why) = &ability {
            warn!("no commit can be held: {why}");
        }
        self.ability.send_replace(ability);
        self.readiness.ready(NOTHING_LEFT);
        Ok(session)
    }

    /// Not to be dropped at an await: it is what lets go.
    async fn carry_out(&self, session: Session, order: Order, stop: &CancellationToken) -> Session {
        if let Ability::Cannot(why) = &*self.ability.borrow() {
            answer(order.answer, Err(HoldError::Cannot(why.clone())));
            return session;
        }
        let mut session = session;
        match session.hold().await {
            Ok(()) => {
                let (let_go, asked) = oneshot::channel();
                answer(order.answer, Ok(Held { _let_go: let_go }));
                tokio::select! {
                    _ = asked => {}
                    () = sleep(order.length) => {}
                    () = stop.cancelled() => {}
                }
            }
            Err(error) => answer(order.answer, Err(error)),
        }
        self.let_go(session).await
    }

    /// Lets go, however often it takes: on another connection where this one is gone.
    async fn let_go(&self, session: Session) -> Session {
        let mut session = Ok(session);
        loop {
            let mut current = match session {
                Ok(current) => current,
                Err(error) => {
                    warn!(error = &error as &dyn std::error::Error, "a commit is still held, and is tried to be let go again");
                    sleep(PAUSE).await;
                    session = Session::connect(&self.server).await;
                    continue;
                }
            };
            match current.let_go().await {
                Ok(()) => return current,
                Err(error) => session = Err(error),
            }
        }
    }
}

/// Whoever asked may be gone: what it is given then is dropped, and so let go.
fn answer(to: oneshot::Sender<Result<Held, HoldError>>, with: Result<Held, HoldError>) {
    if to.send(with).is_err() {
        info!("whoever wanted a commit to be held has gone");
    }
}

/// Lets go of what is held from before, and says whether commits can be held.
async fn prepared(session: &mut Session) -> Result<Ability, HoldError> {
    if let Some(why) = session.obstacle().await? {
        return Ok(Ability::Cannot(why));
    }
    Ok(match session.left().await? {
        Left::Nothing => Ability::Holds,
        Left::Ours => {
            session.let_go().await?;
            warn!("a commit was held by a demonstration that was killed, and is let go now");
            Ability::Holds
        }
        Left::Foreign(why) => Ability::Cannot(why),
    })
}
