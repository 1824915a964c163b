//! Postgres: transactions that begin, lock rows, commit to the log, and are visible later; and the snapshots of that.

use std::collections::BTreeSet;

use super::{Content, Kind, Phase, Tx, World};
use crate::model::{
    compare::{Lsn, Snap, Xid},
    operations::Change,
    state::{Dep, Gen, Key, Tag},
};

impl World {
    pub(super) fn xid(&self, tx: usize) -> Xid {
        self.universe.xid(tx as u64)
    }

    /// The end of the commit at this place of the log; of none, a place before all.
    pub(super) fn end(&self, log_len: usize) -> Lsn {
        self.universe.lsn(log_len as u64)
    }

    pub(super) fn change(&self, tx: usize, generation: Option<Gen>) -> Change {
        let at = self.log.iter().position(|logged| *logged == tx).expect("a logged transaction");
        Change { generation, xid: self.xid(tx), end: self.end(at + 1) }
    }

    pub(super) fn begin(&mut self, how: usize, more: usize) {
        let rows = [Dep::Key(Key(0)), Dep::Key(Key(1))];
        let tags = [Dep::Tag(Tag(0)), Dep::Tag(Tag(1))];
        let all = rows.iter().chain(&tags).enumerate().filter(|(n, _)| how >> n & 1 == 1).map(|(_, dep)| *dep);
        let (kind, deps) = match more % 12 {
            0 => (Kind::Truncate, rows.into_iter().chain(tags).chain([Dep::All]).collect()),
            1 | 2 => (Kind::Giant, all.collect::<BTreeSet<_>>()),
            _ => (Kind::Plain, all.collect()),
        };
        // A row stays locked until its transaction is visible; a table that is truncated, whole.
        let is_locked = |tx: &Tx| {
            let unfinished = matches!(tx.phase, Phase::Running | Phase::Logged);
            unfinished
                && (tx.kind == Kind::Truncate
                    || kind == Kind::Truncate
                    || rows.iter().any(|row| tx.deps.contains(row) && deps.contains(row)))
        };
        if self.txs.len() < 8 && !deps.is_empty() && !self.txs.iter().any(is_locked) {
            let xid = self.xid(self.txs.len());
            self.tell(|| format!("{xid} begins: {kind:?} {deps:?}"));
            self.txs.push(Tx { kind, deps, phase: Phase::Running });
        }
    }

    pub(super) fn move_on(&mut self, which: usize) {
        let unfinished: Vec<_> =
            (0..self.txs.len()).filter(|tx| matches!(self.txs[*tx].phase, Phase::Running | Phase::Logged)).collect();
        let Some(tx) = unfinished.get(which % unfinished.len().max(1)) else { return };
        self.txs[*tx].phase = match self.txs[*tx].phase {
            Phase::Running if which % 16 == 15 => Phase::Aborted,
            Phase::Running => {
                self.log.push(*tx);
                Phase::Logged
            }
            _ => Phase::Visible(self.clock),
        };
        let (xid, phase) = (self.xid(*tx), self.txs[*tx].phase);
        self.tell(|| format!("{xid} is {phase:?}"));
    }

    pub(super) fn snapshot(&self) -> Snap {
        let is_over = |tx: usize| matches!(self.txs[tx].phase, Phase::Aborted | Phase::Visible(_));
        let xmax = (0..self.txs.len()).rfind(|tx| is_over(*tx)).map_or(0, |tx| tx + 1);
        let xip: BTreeSet<_> = (0..xmax).filter(|tx| !is_over(*tx)).map(|tx| self.xid(tx)).collect();
        let xmax = self.xid(xmax);
        Snap { xmin: xip.first().copied().unwrap_or(xmax), xmax, xip }
    }

    /// What a read sees now.
    pub(super) fn seen(&self) -> Content {
        (0..self.txs.len()).filter(|tx| matches!(self.txs[*tx].phase, Phase::Visible(_))).collect()
    }
}
