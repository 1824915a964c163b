//! Snapshots: any, or just before or just after the one that counts.

use std::collections::BTreeSet;

use super::Maker;
use crate::model::{
    compare::{Snap, visible},
    state::Lease,
    universe::XIDS,
};

impl Maker<'_> {
    /// Some of these xids, each by a throw.
    pub(super) fn some_xids(&mut self, of: impl IntoIterator<Item = u64>) -> BTreeSet<u64> {
        let mask = self.below(256);
        of.into_iter().enumerate().filter(|(n, _)| mask >> (n % 8) & 1 == 1).map(|(_, xid)| xid).collect()
    }

    /// A snapshot with `xmax`, and with these running; its `xmin` is the least of them, or seldom less.
    pub(super) fn snap(&mut self, xmax: u64, xip: BTreeSet<u64>) -> Snap {
        let least = xip.first().copied().unwrap_or(xmax);
        let lower = if self.once_in(3) { self.below(4) as u64 } else { 0 };
        Snap { xmin: least.saturating_sub(lower).max(self.universe.xid_base), xmax, xip }
    }

    pub(super) fn any_snap(&mut self) -> Snap {
        let xmax = self.universe.xid(self.below(XIDS as usize + 1) as u64);
        let running = self.some_xids(self.universe.xid_base..xmax);
        self.snap(xmax, running)
    }

    /// A snapshot that includes `base`: it is later, and of what it does not see, `base` sees nothing.
    pub(super) fn snap_after(&mut self, base: &Snap) -> Snap {
        let xmax = (base.xmax + self.below(4) as u64).min(self.universe.xid(XIDS)).max(base.xmax);
        let running = self.some_xids(base.xip.iter().copied().chain(base.xmax..xmax));
        self.snap(xmax, running)
    }

    /// A snapshot that suffices for a fill.
    pub(super) fn snap_seeing(&mut self, lease: &Lease) -> Snap {
        let after = self.snap_after(&lease.snap);
        let xmax = lease.xids.last().map_or(after.xmax, |last| after.xmax.max(last + 1));
        let running = after.xip.iter().copied().chain(after.xmax..xmax).filter(|xid| !lease.xids.contains(xid)).collect();
        self.snap(xmax, running)
    }

    /// A snapshot that sees what the lease was told, and yet lacks one transaction that the lease's snapshot sees.
    pub(super) fn snap_lacking(&mut self, lease: &Lease) -> Snap {
        let mut snap = self.snap_seeing(lease);
        let seen = |xid: &u64| visible(*xid, &lease.snap) && !lease.xids.contains(xid);
        let seen: Vec<_> = (self.universe.xid_base..lease.snap.xmax).filter(seen).collect();
        if !seen.is_empty() {
            snap.xip.insert(self.one_of(&seen));
            snap.xmin = snap.xmin.min(*snap.xip.first().expect("one at least"));
        }
        snap
    }

    pub(super) fn snap_around(&mut self, base: Option<&Snap>) -> Snap {
        match base {
            Some(base) if !self.once_in(4) => self.snap_after(base),
            _ => self.any_snap(),
        }
    }
}
