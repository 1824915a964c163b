//! What is compared (protocol.md §1), over plain numbers and sets: nothing of the library is used here.

use std::collections::BTreeSet;

pub type Xid = u64;
pub type Lsn = u64;

/// What `pg_current_snapshot()` answers.
#[derive(Clone, PartialEq, Eq)]
pub struct Snap {
    pub xmin: Xid,
    pub xmax: Xid,
    pub xip: BTreeSet<Xid>,
}

/// Why an entry holds a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    Snap(Snap),
    Lsn(Lsn),
}

impl Proof {
    pub fn snap(&self) -> Option<&Snap> {
        if let Self::Snap(snap) = self { Some(snap) } else { None }
    }
}

/// `visible(x, S) = x < S.xmin or (x < S.xmax and x not in S.xip)`
pub fn visible(x: Xid, s: &Snap) -> bool {
    x < s.xmin || (x < s.xmax && !s.xip.contains(&x))
}

/// `includes(S, P) = S.xmax >= P.xmax and every i in S.xip has i >= P.xmax or i in P.xip`
pub fn includes(s: &Snap, p: &Snap) -> bool {
    s.xmax >= p.xmax && s.xip.iter().all(|i| *i >= p.xmax || p.xip.contains(i))
}

/// `covers(e, c) = e.snap ? visible(c.xid, e.snap) : e.lsn >= c.end`
pub fn covers(proof: &Proof, xid: Xid, end: Lsn) -> bool {
    match proof {
        Proof::Snap(snap) => visible(xid, snap),
        Proof::Lsn(lsn) => *lsn >= end,
    }
}

/// Those of `xids` that are not visible in `snap`.
pub fn unseen(xids: impl IntoIterator<Item = Xid>, snap: &Snap) -> BTreeSet<Xid> {
    xids.into_iter().filter(|x| !visible(*x, snap)).collect()
}

impl std::fmt::Debug for Snap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{:?}", self.xmin, self.xmax, self.xip)
    }
}

/// Every snapshot over the first four ids, those included whose `xmin` lies below all that run.
fn all_snapshots() -> Vec<Snap> {
    let mut all = Vec::new();
    for xmax in 0..=4_u64 {
        for mask in 0..1_u64 << xmax {
            let xip: BTreeSet<u64> = (0..xmax).filter(|xid| mask >> xid & 1 == 1).collect();
            let least = xip.first().copied().unwrap_or(xmax);
            all.extend((0..=least).map(|xmin| Snap { xmin, xmax, xip: xip.clone() }));
        }
    }
    all
}

#[test]
fn the_library_compares_as_protocol_md_says() {
    use super::universe::{lsn, snapshot, xid};
    let all = all_snapshots();
    for this in &all {
        for x in 0..=5 {
            assert_eq!(snapshot(this).sees(xid(x)), visible(x, this), "{x} in {this:?}");
            let proof = freshline::coherence::Proof::Snapshot(snapshot(this));
            assert_eq!(proof.covers(xid(x), lsn(1)), covers(&Proof::Snap(this.clone()), x, 1), "{x} in {this:?}");
        }
        for other in &all {
            assert_eq!(snapshot(this).includes(&snapshot(other)), includes(this, other), "{this:?} of {other:?}");
        }
    }
    for (proven, end) in [(4, 5), (5, 5), (6, 5)] {
        assert_eq!(freshline::coherence::Proof::Lsn(lsn(proven)).covers(xid(1), lsn(end)), covers(&Proof::Lsn(proven), 1, end));
    }
}
