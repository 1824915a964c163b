//! How a process ends: the signal that asks for it, the tasks that have to hear it, and a bound on how long they may take.

use std::{collections::HashMap, error::Error, future::Future, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    task::{Id, JoinError, JoinSet},
    time::{Instant, timeout_at},
};
use tracing::{error, info, warn};

use crate::{
    fault::{Classified, Kind},
    telemetry::chain,
};

/// Hears SIGTERM and SIGINT from now on, and waits until one asks this process to end. Before this is called they end it at once.
pub fn requested() -> impl Future<Output = ()> {
    let (terminate, interrupt) = (arrives(SignalKind::terminate()), arrives(SignalKind::interrupt()));
    async {
        tokio::select! {
            () = terminate => info!("SIGTERM: ending"),
            () = interrupt => info!("SIGINT: ending"),
        }
    }
}

fn arrives(kind: SignalKind) -> impl Future<Output = ()> {
    let heard = signal(kind);
    async move {
        match heard {
            Ok(mut signals) => {
                signals.recv().await;
            }
            Err(cause) => {
                // The signal then keeps its default effect, which ends the process at once.
                warn!("signal {} cannot be heard: {cause}", kind.as_raw_value());
                std::future::pending().await
            }
        }
    }
}

/// What a task leaves behind where it fails.
pub type TaskError = Box<dyn Error + Send + Sync>;

/// The tasks of a process, each under a name. Dropping the set aborts them.
#[derive(Debug, Default)]
pub struct Tasks {
    running: JoinSet<Result<(), TaskError>>,
    names: HashMap<Id, &'static str>,
}

/// A task that has ended.
#[derive(Debug)]
#[must_use]
pub struct Ended {
    /// Its name.
    pub name: &'static str,
    /// What became of it.
    pub outcome: Result<(), Failure>,
}

/// How a task failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It returned an error.
    #[error(transparent)]
    Error(TaskError),
    /// It panicked, or was aborted.
    #[error("it did not come to its end")]
    Broken(#[source] JoinError),
}

impl Tasks {
    /// No tasks yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task. It has to end when the process's token is cancelled.
    pub fn spawn<E: Into<TaskError>>(&mut self, name: &'static str, task: impl Future<Output = Result<(), E>> + Send + 'static) {
        let handle = self.running.spawn(async { task.await.map_err(Into::into) });
        self.names.insert(handle.id(), name);
    }

    /// Starts a task that cannot fail.
    pub fn spawn_sure(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn(name, async {
            task.await;
            Ok::<_, std::convert::Infallible>(())
        });
    }

    /// The next task that ends, or `None` where none is left. May be dropped at its `.await`.
    pub async fn join_next(&mut self) -> Option<Ended> {
        let (id, outcome) = match self.running.join_next_with_id().await? {
            Ok((id, returned)) => (id, returned.map_err(Failure::Error)),
            Err(broken) => (broken.id(), Err(Failure::Broken(broken))),
        };
        let name = self.names.remove(&id).unwrap_or("a task without a name");
        Some(Ended { name, outcome })
    }

    /// The names of those that run.
    pub fn names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.names.values().copied().collect();
        names.sort_unstable();
        names
    }
}

/// Why a process did not end as it should.
#[derive(Debug, thiserror::Error)]
pub enum NotClean {
    /// A task ended before it was asked to.
    #[error("{name} ended unasked")]
    Unasked {
        /// The task.
        name: &'static str,
        /// How it failed; `None` where it just returned.
        #[source]
        failure: Option<Failure>,
    },
    /// A task failed while it ended.
    #[error("{name} failed while it ended")]
    Failed {
        /// The task.
        name: &'static str,
        /// How.
        #[source]
        failure: Failure,
    },
    /// Tasks were still running when the grace was over, and were aborted.
    #[error("still running after {} ms of grace, and aborted: {}", .grace.as_millis(), .names.join(", "))]
    Late {
        /// Their names.
        names: Vec<&'static str>,
        /// How long they had.
        grace: Duration,
    },
}

impl Classified for NotClean {
    fn kind(&self) -> Kind {
        match self {
            Self::Unasked { .. } | Self::Failed { .. } | Self::Late { .. } => Kind::Bug,
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Late { .. } => Some("Raise FRESHLINE_GRACE_MS if the work was due to end.".to_owned()),
            Self::Unasked { .. } | Self::Failed { .. } => None,
        }
    }
}

/// Waits until every task has ended, for `grace` at most, then aborts and names those that have not.
///
/// The token that the tasks listen to has been cancelled. `ended` is a task that ended before that, unasked: a failure, whatever it
/// returned. The first failure is returned and every other is logged.
pub async fn drain(mut tasks: Tasks, grace: Duration, ended: Option<Ended>) -> Result<(), NotClean> {
    let deadline = Instant::now() + grace;
    let mut first = ended.map(|Ended { name, outcome }| NotClean::Unasked { name, failure: outcome.err() });
    loop {
        match timeout_at(deadline, tasks.join_next()).await {
            Ok(None) => break,
            Ok(Some(Ended { outcome: Ok(()), .. })) => {}
            Ok(Some(Ended { name, outcome: Err(failure) })) => keep(&mut first, NotClean::Failed { name, failure }),
            Err(_) => {
                keep(&mut first, NotClean::Late { names: tasks.names(), grace });
                tasks.running.shutdown().await;
                break;
            }
        }
    }
    first.map_or(Ok(()), Err)
}

/// Keeps the first failure to be returned, and logs a further one.
fn keep(first: &mut Option<NotClean>, failure: NotClean) {
    match first {
        None => *first = Some(failure),
        Some(_) => error!("{}", chain(&failure)),
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;

    const GRACE: Duration = Duration::from_secs(10);

    fn listening(tasks: &mut Tasks, name: &'static str, stop: &CancellationToken) {
        let stop = stop.clone();
        tasks.spawn(name, async move {
            stop.cancelled().await;
            Ok::<_, TaskError>(())
        });
    }

    #[tokio::test(start_paused = true)]
    async fn tasks_that_hear_the_stop_end_cleanly() {
        let (mut tasks, stop) = (Tasks::new(), CancellationToken::new());
        listening(&mut tasks, "apply", &stop);
        listening(&mut tasks, "publish", &stop);
        assert_eq!(tasks.names(), ["apply", "publish"]);
        stop.cancel();
        drain(tasks, GRACE, None).await.expect("a clean end");
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_task_is_named_and_aborted() {
        let (mut tasks, begun) = (Tasks::new(), Instant::now());
        let (held, dropped) = tokio::sync::oneshot::channel::<()>();
        tasks.spawn("apply", async move {
            let _held = held;
            std::future::pending::<Result<(), TaskError>>().await
        });
        let late = drain(tasks, GRACE, None).await.expect_err("it never ends");
        assert!(matches!(&late, NotClean::Late { names, .. } if names == &["apply"]), "{late}");
        assert_eq!(begun.elapsed(), GRACE);
        dropped.await.expect_err("the task was dropped, and what it held with it");
    }

    #[tokio::test]
    async fn a_panic_surfaces_under_the_name_of_its_task() {
        let mut tasks = Tasks::new();
        tasks.spawn("decode", async {
            assert!(std::env::args().count() == 0, "boom");
            Ok::<_, TaskError>(())
        });
        let failed = drain(tasks, GRACE, None).await.expect_err("it panicked");
        let told = chain(&failed);
        assert!(told.contains("decode") && told.contains("boom"), "{told}");
    }

    #[tokio::test]
    async fn a_task_that_ends_unasked_is_a_failure_even_if_it_succeeded() {
        let mut tasks = Tasks::new();
        tasks.spawn("apply", async { Ok::<_, TaskError>(()) });
        let ended = tasks.join_next().await;
        let unasked = drain(tasks, GRACE, ended).await.expect_err("nobody asked it to end");
        assert!(matches!(unasked, NotClean::Unasked { name: "apply", failure: None }), "{unasked}");
    }
}
