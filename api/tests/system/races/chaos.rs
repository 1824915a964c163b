//! What breaks during a race, one thing after the other, each for as long as some reads take.

use std::time::Instant;

use stage::{Random, until};

use super::{Plan, Race};

/// How many reads there are between two faults at least, and during one.
const READS_MIN: usize = 30;

/// How many more there may be.
const READS_MORE: usize = 90;

/// What can break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Some keys are evicted: values, leases, tags.
    Evict,
    /// All values are, and all else stays.
    EvictValues,
    /// The control record goes, or the fences.
    Close,
    /// FLUSHALL.
    Flush,
    /// The invalidator is killed with -9, and started again after some reads.
    Kill,
    /// Who writes to the broker is ended, the relay with -9, and started again after some reads.
    KillWriter,
    /// The synchronous standby is away: commits stay in the gap, and what is read meanwhile is read from Postgres. Now and then
    /// something else breaks in there, too.
    Hold,
}

impl Race<'_> {
    /// Breaks things until the race has lasted long enough and each has broken twice, or a promise was broken where that is wanted.
    pub async fn break_things(&self, plan: &Plan<'_>, mut random: Random) {
        let begun = Instant::now();
        let mut round = 0;
        while round < 2 || begun.elapsed() < plan.lasts {
            round += 1;
            for fault in random.shuffled(plan.faults) {
                if plan.ends_when_broken && !self.ledger.violations().is_empty() {
                    return;
                }
                self.some_reads(&mut random).await;
                self.break_one(fault, &mut random).await;
                self.tally.faults();
            }
        }
    }

    async fn break_one(&self, fault: Fault, random: &mut Random) {
        match fault {
            Fault::Kill => {
                self.town.invalidator.lock().await.kill().await.expect("killed");
                self.some_reads(random).await;
                self.town.restart_invalidator().await;
            }
            Fault::KillWriter => {
                let mut feed = self.town.feed.lock().await;
                feed.stop_writer().await.expect("ended");
                self.some_reads(random).await;
                feed.start_writer().await.expect("started again");
            }
            Fault::Hold => self.hold(random).await,
            fault => self.remove_keys(fault, random).await,
        }
    }

    async fn hold(&self, random: &mut Random) {
        self.set_standby("nobody").await;
        let waits = "select count(*) > 0 from pg_stat_activity where wait_event = 'SyncRep'";
        until("a commit waits for its standby", async || self.town.stage.value::<bool>(waits).await).await;
        match random.below(8) {
            0 => self.remove_keys(Fault::Flush, random).await,
            1 => self.town.restart_invalidator().await,
            _ => self.remove_keys(Fault::Evict, random).await,
        }
        self.some_reads(random).await;
        self.remove_keys(Fault::EvictValues, random).await;
        self.some_reads(random).await;
        self.set_standby("").await;
    }

    /// Over a session that is there: a new one takes its time under this load.
    async fn set_standby(&self, name: &str) {
        self.town.stage.sql(&format!("alter system set synchronous_standby_names = '{name}'")).await;
        self.town.stage.sql("select pg_reload_conf()").await;
    }

    /// Removes what this fault removes from Redis.
    async fn remove_keys(&self, fault: Fault, random: &mut Random) {
        if fault == Fault::Flush {
            return self.redis(&["FLUSHALL"]).await;
        }
        let keys: Vec<String> = self.redis(&["KEYS", "*"]).await;
        let (control, others): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| key.ends_with("ctl") || key.ends_with("fences"));
        let doomed: Vec<_> = match fault {
            Fault::Close if control.is_empty() => return,
            Fault::Close => vec![control[random.below(control.len())].clone()],
            Fault::EvictValues => others.into_iter().filter(|key| key.contains("}v:")).collect(),
            _ => others.into_iter().filter(|_| random.below(4) == 0).collect(),
        };
        if !doomed.is_empty() {
            let words: Vec<_> = ["DEL"].into_iter().chain(doomed.iter().map(String::as_str)).collect();
            self.redis::<()>(&words).await;
        }
    }

    async fn some_reads(&self, random: &mut Random) {
        let target = self.tally.reads() + u64::try_from(READS_MIN + random.below(READS_MORE)).expect("a small number");
        until("some reads", async || self.tally.reads() >= target).await;
    }
}
