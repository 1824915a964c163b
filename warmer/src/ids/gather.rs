//! Gathers ids into chunks, each id once, and counts and names what is none.

use std::{collections::HashSet, ops::ControlFlow, sync::Arc};

use tokio::sync::mpsc;
use uuid::Uuid;

use super::IdsError;
use crate::{report::Report, tally::Tally};

/// How many of the last ids are known at least, so that one that comes again is passed over. Up to twice as many are kept, in some
/// 20 MB. One that comes again later than that is found in the cache, and counted there.
const REMEMBERED: usize = 250_000;

/// The longest text of a malformed id that is shown, in characters.
const SHOWN_MAX: usize = 60;

/// Hands chunks on. Whoever takes them is slower than the source: then the source waits.
pub struct Gather {
    chunk: Vec<Uuid>,
    chunk_len: usize,
    chunks: mpsc::Sender<Vec<Uuid>>,
    remembered: Remembered,
    tally: Arc<Tally>,
    report: Arc<Report>,
    malformed: u64,
    ids: u64,
}

/// Whether more ids are wanted.
pub type More = ControlFlow<()>;

impl Gather {
    /// Hands on chunks of `chunk_len` ids.
    pub fn new(chunk_len: u16, chunks: mpsc::Sender<Vec<Uuid>>, tally: Arc<Tally>, report: Arc<Report>) -> Self {
        let chunk_len = usize::from(chunk_len);
        let chunk = Vec::with_capacity(chunk_len);
        Self { chunk, chunk_len, chunks, remembered: Remembered::default(), tally, report, malformed: 0, ids: 0 }
    }

    /// Takes an id that may have come before. `place` says where it stands, for a message.
    pub(super) async fn id(&mut self, id: Uuid, place: impl Fn() -> String) -> More {
        if self.remembered.is_new(id) {
            return self.new_id(id).await;
        }
        self.tally.duplicate();
        self.report.unused(&format!("{}: {id} came before", place()));
        More::Continue(())
    }

    /// Takes an id that has not come before.
    pub(super) async fn new_id(&mut self, id: Uuid) -> More {
        self.tally.id();
        self.ids += 1;
        self.chunk.push(id);
        if self.chunk.len() < self.chunk_len { More::Continue(()) } else { self.flush().await }
    }

    /// Takes note of something that is no id.
    pub(super) fn malformed(&mut self, text: &str, place: impl Fn() -> String) {
        self.malformed += 1;
        self.tally.malformed();
        let shown: String = text.chars().take(SHOWN_MAX).collect();
        let cut = if shown.len() < text.len() { "…" } else { "" };
        self.report.unused(&format!("{}: {shown:?}{cut} is no id", place()));
    }

    /// Hands on what is there, a full chunk or not.
    pub(super) async fn flush(&mut self) -> More {
        if self.chunk.is_empty() {
            return More::Continue(());
        }
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(self.chunk_len));
        if self.chunks.send(chunk).await.is_ok() { More::Continue(()) } else { More::Break(()) }
    }

    /// That there was an id at all, unless there was nothing.
    pub(super) fn some_id(&self, place: &str) -> Result<(), IdsError> {
        match (self.ids, self.malformed) {
            (0, malformed @ 1..) => Err(IdsError::AllMalformed { place: place.to_owned(), malformed }),
            _ => Ok(()),
        }
    }
}

/// Chunks of ids that are at hand already.
pub fn chunks_of(ids: &[Uuid], chunk_len: u16) -> Vec<Vec<Uuid>> {
    ids.chunks(usize::from(chunk_len)).map(<[Uuid]>::to_vec).collect()
}

/// The last ids.
#[derive(Default)]
struct Remembered {
    newer: HashSet<Uuid>,
    older: HashSet<Uuid>,
}

impl Remembered {
    fn is_new(&mut self, id: Uuid) -> bool {
        if self.older.contains(&id) || !self.newer.insert(id) {
            return false;
        }
        if self.newer.len() == REMEMBERED {
            self.older = std::mem::take(&mut self.newer);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ids_are_remembered_and_memory_is_bounded() {
        let mut remembered = Remembered::default();
        let id = |n: usize| Uuid::from_u128(n as u128);
        for n in 0..REMEMBERED * 3 {
            assert!(remembered.is_new(id(n)), "{n}");
            assert!(!remembered.is_new(id(n.saturating_sub(REMEMBERED - 1))), "{n}");
            assert!(remembered.newer.len() + remembered.older.len() <= 2 * REMEMBERED);
        }
        assert!(remembered.is_new(id(0)), "forgotten");
    }
}
