//! The two connections by which commits are held: one that changes the setting and looks, one whose commit is seen to wait.
//!
//! Each statement is alone: `alter system` runs in no transaction.

use std::time::Duration;

use futures::FutureExt;
use sqlx::{ConnectOptions, PgConnection, postgres::PgConnectOptions};
use tokio::time::{Instant, sleep, timeout};

use super::{HoldError, MARKER};

/// How long Postgres may take for one step.
const STEP_MAX: Duration = Duration::from_secs(5);

/// How long it may take until commits wait: a reload alone is not enough, for the checkpointer has to hear of it.
const EFFECT_MAX: Duration = Duration::from_secs(2);

/// Between two looks at the commit that is to wait.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// The connections.
pub struct Session {
    control: PgConnection,
    prober: PgConnection,
    prober_pid: i32,
}

/// What the server's files say that is in force, or would be after a restart.
const FILES: &str = "select
    (select setting from pg_file_settings where name = 'synchronous_standby_names' order by seqno desc limit 1),
    (select setting from pg_file_settings where name = 'synchronous_commit' and sourcefile like '%postgresql.auto.conf')";

/// Writes to the log, as a commit has to that waits, and nothing that lasts or is streamed: a large object, made and removed.
const PROBE: &str = "select lo_unlink(lo_create(0))";

/// What stands in the settings already.
#[derive(Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing.
    Nothing,
    /// What one of us left.
    Ours,
    /// Something of somebody else's, so that ours cannot be set: why.
    Foreign(String),
}

impl Session {
    /// Connects.
    pub async fn connect(server: &PgConnectOptions) -> Result<Self, HoldError> {
        let connect = |commit: &'static str| server.clone().options([("synchronous_commit", commit)]);
        let (local, on) = (connect("local"), connect("on"));
        let control = step(local.connect()).await?;
        let mut prober = step(on.connect()).await?;
        let prober_pid = step(sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut prober)).await?;
        Ok(Self { control, prober, prober_pid })
    }

    /// Why commits cannot be held here, whatever the settings; `None` where they can.
    pub async fn obstacle(&mut self) -> Result<Option<String>, HoldError> {
        let asked = "select current_user::text, current_setting('is_superuser') = 'on', pg_is_in_recovery()";
        let (role, is_superuser, is_standby): (String, bool, bool) =
            step(sqlx::query_as(asked).fetch_one(&mut self.control)).await?;
        Ok(if is_standby {
            Some("this Postgres is a standby, which commits nothing".to_owned())
        } else {
            (!is_superuser).then(|| format!("the role {role} is no superuser, and only one may use ALTER SYSTEM"))
        })
    }

    /// What stands in the settings already.
    pub async fn left(&mut self) -> Result<Left, HoldError> {
        let (standbys, commit): (Option<String>, Option<String>) = step(sqlx::query_as(FILES).fetch_one(&mut self.control)).await?;
        Ok(left(standbys.as_deref(), commit.as_deref()))
    }

    /// Holds commits, and returns once one has been seen to wait. On an error something may be held.
    pub async fn hold(&mut self) -> Result<(), HoldError> {
        if let Left::Foreign(why) = self.left().await? {
            return Err(HoldError::Cannot(why));
        }
        // In this order: the marker never stands in the file alone, where a restart would make everybody wait.
        self.run("alter system set synchronous_commit = local").await?;
        self.run(&format!("alter system set synchronous_standby_names = '{MARKER}'")).await?;
        self.run("select pg_reload_conf()").await?;
        let deadline = Instant::now() + EFFECT_MAX;
        while !self.probe().await? {
            if Instant::now() > deadline {
                return Err(HoldError::NoEffect);
            }
        }
        Ok(())
    }

    /// Lets every held commit go, where it is us who hold.
    pub async fn let_go(&mut self) -> Result<(), HoldError> {
        if self.left().await? != Left::Ours {
            return Ok(());
        }
        self.run("alter system reset synchronous_standby_names").await?;
        self.run("alter system reset synchronous_commit").await?;
        self.run("select pg_reload_conf()").await
    }

    /// Commits something, and answers whether that waits. If it does it is cancelled, which completes it.
    async fn probe(&mut self) -> Result<bool, HoldError> {
        let (control, pid) = (&mut self.control, self.prober_pid);
        let mut commit = std::pin::pin!(sqlx::raw_sql(PROBE).execute(&mut self.prober));
        let probe = async {
            tokio::select! {
                done = commit.as_mut() => done.map(|_| false),
                waits = waits(control, pid) => {
                    waits?;
                    sqlx::query("select pg_cancel_backend($1)").bind(pid).execute(&mut *control).await?;
                    commit.await.map(|_| true)
                }
            }
        };
        step(probe).await
    }

    async fn run(&mut self, statement: &str) -> Result<(), HoldError> {
        let statement = sqlx::raw_sql(sqlx::AssertSqlSafe(statement));
        step(statement.execute(&mut self.control).map(|done| done.map(drop))).await
    }
}

/// Waits until the backend `pid` waits for a synchronous standby.
async fn waits(control: &mut PgConnection, pid: i32) -> Result<(), sqlx::Error> {
    loop {
        let event = sqlx::query_scalar("select wait_event from pg_stat_activity where pid = $1").bind(pid);
        let event: Option<String> = event.fetch_optional(&mut *control).await?.flatten();
        if event.as_deref() == Some("SyncRep") {
            return Ok(());
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn step<T>(asked: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, HoldError> {
    Ok(timeout(STEP_MAX, asked).await.map_err(|_| HoldError::Silent(STEP_MAX))??)
}

/// A `synchronous_commit = local` by ALTER SYSTEM is taken for ours, also alone: one that was killed between two statements leaves it, and
/// without standbys, which is the only case in which we go on, it is what the default means.
fn left(standbys: Option<&str>, commit: Option<&str>) -> Left {
    match (standbys.unwrap_or_default(), commit) {
        (MARKER, _) | ("", Some("local")) => Left::Ours,
        ("", None) => Left::Nothing,
        ("", Some(other)) => Left::Foreign(format!(
            "ALTER SYSTEM has set synchronous_commit to {other} here; alter system reset synchronous_commit, and start this again"
        )),
        (names, _) => Left::Foreign(format!("commits wait for standbys here (synchronous_standby_names is {names})")),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::as_it_comes(None, None, Some(Left::Nothing))]
    #[case::said_to_be_none(Some(""), None, Some(Left::Nothing))]
    #[case::held(Some(MARKER), Some("local"), Some(Left::Ours))]
    #[case::held_without_the_shield(Some(MARKER), None, Some(Left::Ours))]
    #[case::killed_between_two_statements(None, Some("local"), Some(Left::Ours))]
    #[case::real_standbys(Some("berlin"), None, None)]
    #[case::a_default_of_their_own(None, Some("off"), None)]
    #[case::real_standbys_and_local(Some("berlin"), Some("local"), None)]
    fn only_what_one_of_us_set_is_let_go(#[case] standbys: Option<&str>, #[case] commit: Option<&str>, #[case] ours: Option<Left>) {
        match (left(standbys, commit), ours) {
            (Left::Foreign(_), None) => {}
            (found, expected) => assert_eq!(Some(found), expected),
        }
    }
}
