//! What a failure calls for. Every error type of Freshline answers with one [`Kind`]; callers match on it and on nothing else.

use crate::telemetry::chain;

/// What a failure calls for, decided once, where the error type is defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It may pass by itself: back off, hold the position, answer 503 or read Postgres.
    Transient,
    /// It stays until somebody mends it: stop, and say the statement or setting that does.
    Permanent,
    /// The program or what it was fed is wrong: count it, log the whole chain, go on without what it names.
    Bug,
}

/// An error that has been classified.
pub trait Classified: std::error::Error {
    /// What this failure calls for.
    fn kind(&self) -> Kind;

    /// The statement or setting that mends it, for the log, `/readyz` and the control command.
    fn remedy(&self) -> Option<String> {
        None
    }
}

/// All that is known of an error, for whoever reads how a process ended: its causes, and what mends it.
pub fn in_full(error: &impl Classified) -> String {
    let causes = chain(error);
    match error.remedy() {
        Some(remedy) => format!("{causes}; remedy: {remedy}"),
        None => causes,
    }
}
