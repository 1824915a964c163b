//! What a loader hands over: a value, and what its statement said of the moment that it read.

use crate::coherence::{Snapshot, SnapshotSyntax, Source, SourceSyntax};

/// What a loader read, and what proves which changes are in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded<T> {
    /// What was read.
    pub value: T,
    /// What the same statement said of itself.
    pub proof: ReadProof,
}

impl<T> Loaded<T> {
    /// The same reading, of which something is made.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Loaded<U> {
        Loaded { value: make(self.value), proof: self.proof }
    }

    /// As the only one of many.
    pub(super) fn alone(self) -> Loaded<Vec<T>> {
        self.map(|value| vec![value])
    }
}

/// What the loading statement said of itself: `pg_current_snapshot()`, in its outermost SELECT, and the session's source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadProof {
    /// The snapshot that the rows were read under.
    pub snapshot: Snapshot,
    /// The history that the session reads, as an earlier statement on it learned; `None` where the session is not known to be on the
    /// primary: then the value is returned, and never filled.
    pub source: Option<Source>,
}

/// A text that Postgres does not answer with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofSyntax {
    /// The snapshot is not one.
    #[error(transparent)]
    Snapshot(#[from] SnapshotSyntax),
    /// The source is not one.
    #[error(transparent)]
    Source(#[from] SourceSyntax),
}

impl ReadProof {
    /// The proof that `pg_current_snapshot()::text` and `current_setting('freshline.source', true)` make. A setting that was never
    /// made is null or empty.
    ///
    /// # Errors
    /// [`ProofSyntax`] for other texts.
    pub fn parse(snapshot: &str, source: Option<&str>) -> Result<Self, ProofSyntax> {
        let source = source.filter(|text| !text.is_empty()).map(str::parse).transpose()?;
        Ok(Self { snapshot: snapshot.parse()?, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_does_not_know_its_source_has_none() {
        for source in [None, Some("")] {
            assert_eq!(ReadProof::parse("10:20:12", source).expect("a proof").source, None);
        }
        let known = ReadProof::parse("10:20:12", Some("7/1/3")).expect("a proof");
        assert_eq!(known.source, Some(Source { system: 7, timeline: 1, started_us: 3 }));
        assert!(matches!(ReadProof::parse("10:20", None), Err(ProofSyntax::Snapshot(_))));
        assert!(matches!(ReadProof::parse("10:20:", Some("x")), Err(ProofSyntax::Source(_))));
    }
}
