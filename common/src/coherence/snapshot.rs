//! The visibility rule: what a read under a snapshot has seen.

use std::{fmt, str::FromStr};

use super::xid::Xid;

/// What `pg_current_snapshot()` answers: which transactions a statement sees.
///
/// Every id below `xmin` is over, none from `xmax` on has begun, and `running` (sorted, within `xmin..xmax`) lists those between
/// that were still running.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Snapshot {
    xmin: Xid,
    xmax: Xid,
    running: Box<[Xid]>,
}

impl Snapshot {
    /// A snapshot of these parts, or `None` where they contradict each other: `xmin > xmax`, or a running id outside.
    pub fn new(xmin: Xid, xmax: Xid, mut running: Vec<Xid>) -> Option<Self> {
        running.sort_unstable();
        running.dedup();
        let within = running.iter().all(|xid| (xmin..xmax).contains(xid));
        (xmin <= xmax && within).then(|| Self { xmin, xmax, running: running.into() })
    }

    /// The snapshot that a new slot has exported, as `pg_current_snapshot()` shows it under that snapshot.
    ///
    /// Its xmin may lie above its xmax, below which it sees everything then: the walsender that makes the slot moves the one along with
    /// what runs, and the other only with what commits (`SnapBuildProcessRunningXacts` and `SnapBuildCommitTxn` in Postgres's
    /// snapbuild.c); between the two lie transactions that have rolled back.
    ///
    /// # Errors
    /// [`SnapshotSyntax`].
    pub fn exported(text: &str) -> Result<Self, SnapshotSyntax> {
        let parse = || parts(text).and_then(|(xmin, xmax, running)| Snapshot::new(xmin.min(xmax), xmax, running));
        parse().ok_or_else(|| SnapshotSyntax(text.to_owned()))
    }

    /// The lowest id that was still running; all below it are over.
    pub fn xmin(&self) -> Xid {
        self.xmin
    }

    /// One past the highest id that was over; none from here on is seen.
    pub fn xmax(&self) -> Xid {
        self.xmax
    }

    /// The ids between `xmin` and `xmax` that were running, in order.
    pub fn running(&self) -> &[Xid] {
        &self.running
    }

    /// Whether a read under this snapshot saw what `xid` committed.
    pub fn sees(&self, xid: Xid) -> bool {
        xid < self.xmin || (xid < self.xmax && self.running.binary_search(&xid).is_err())
    }

    /// Whether this snapshot sees everything that `other` sees.
    pub fn includes(&self, other: &Snapshot) -> bool {
        self.xmax >= other.xmax && self.running.iter().all(|xid| *xid >= other.xmax || other.running.binary_search(xid).is_ok())
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.xmin, self.xmax)?;
        for (n, xid) in self.running.iter().enumerate() {
            write!(f, "{}{xid}", if n == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// A text that is not a snapshot such as `10:20:12,15`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a snapshot: pg_current_snapshot()::text answers xmin:xmax:xip,xip")]
pub struct SnapshotSyntax(String);

impl FromStr for Snapshot {
    type Err = SnapshotSyntax;

    fn from_str(text: &str) -> Result<Self, SnapshotSyntax> {
        let parse = || parts(text).and_then(|(xmin, xmax, running)| Snapshot::new(xmin, xmax, running));
        parse().ok_or_else(|| SnapshotSyntax(text.to_owned()))
    }
}

fn parts(text: &str) -> Option<(Xid, Xid, Vec<Xid>)> {
    let xid = |digits: &str| digits.parse().ok().and_then(Xid::new);
    let mut parts = text.splitn(3, ':');
    let (xmin, xmax, list) = (xid(parts.next()?)?, xid(parts.next()?)?, parts.next()?);
    let running = if list.is_empty() { Some(Vec::new()) } else { list.split(',').map(xid).collect() };
    Some((xmin, xmax, running?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::committed_before(9, "10:20:", true)]
    #[case::between_and_over(11, "10:20:12,15", true)]
    #[case::still_running(12, "10:20:12,15", false)]
    #[case::not_yet_begun(20, "10:20:", false)]
    #[case::lowest_running(10, "10:20:10", false)]
    fn snapshot_sees(#[case] xid: u64, #[case] snapshot: Snapshot, #[case] seen: bool) {
        assert_eq!(snapshot.sees(Xid::new(xid).expect("an xid")), seen);
    }

    #[rstest]
    #[case::itself("10:20:12", "10:20:12", true)]
    #[case::later("15:25:", "10:20:12", true)]
    #[case::earlier("10:19:12", "10:20:12", false)]
    #[case::one_runs_that_was_over("10:25:11", "10:20:12", false)]
    #[case::the_same_still_runs("12:25:12,22", "10:20:12", true)]
    fn snapshot_includes(#[case] this: Snapshot, #[case] other: Snapshot, #[case] included: bool) {
        assert_eq!(this.includes(&other), included);
    }

    #[test]
    fn an_exported_snapshot_may_have_its_xmin_above_its_xmax_and_sees_what_is_below_that() {
        let exported = Snapshot::exported("20:15:").expect("a snapshot");
        assert!(exported.sees(Xid::new(14).expect("small")) && !exported.sees(Xid::new(15).expect("small")));
        assert_eq!(Snapshot::exported("10:20:12"), "10:20:12".parse());
        assert!(Snapshot::exported("20:15:17").is_err());
    }

    #[rstest]
    #[case("")]
    #[case("10:20")]
    #[case("20:10:")]
    #[case("10:20:9")]
    #[case("10:20:20")]
    #[case("10:20:12,")]
    #[case("10:20:x")]
    #[case("10:99999999999999999:")]
    fn a_text_that_is_no_snapshot_is_refused(#[case] text: &str) {
        assert!(text.parse::<Snapshot>().is_err());
    }

    /// Any snapshot over a few ids: xmin is the lowest running one, as Postgres makes it.
    pub fn snapshots() -> impl Strategy<Value = Snapshot> {
        (3_u64..20, proptest::collection::btree_set(3_u64..20, 0..5)).prop_map(|(xmax, running)| {
            let running: Vec<Xid> = running.into_iter().filter(|x| *x < xmax).filter_map(Xid::new).collect();
            let xmax = Xid::new(xmax).expect("small");
            Snapshot::new(running.first().copied().unwrap_or(xmax), xmax, running).expect("consistent")
        })
    }

    proptest! {
        #[test]
        fn includes_means_sees_all_that_the_other_sees(this in snapshots(), other in snapshots()) {
            let all = (0_u64..25).filter_map(Xid::new).all(|xid| !other.sees(xid) || this.sees(xid));
            // `includes` may say no where no id tells the two apart (an xmax raised by nothing); never yes where one does.
            prop_assert!(!this.includes(&other) || all);
        }

        #[test]
        fn a_snapshot_survives_its_text(snapshot in snapshots()) {
            prop_assert_eq!(snapshot.to_string().parse::<Snapshot>().expect("its own text"), snapshot);
        }
    }
}
