//! The contract of a source: where changes come from, and what it owes the applier.

mod ahead;
mod decoder;
pub mod kafka;
mod letters;
pub mod nats;
pub mod postgres;
mod prepared;
mod turn;

use std::future::Future;

use freshline::{
    change::{Beginning, Event, Place},
    coherence::{self, Lsn},
    fault::Classified,
};

/// A place that changes come from.
///
/// Only one process at a time may have a stream of it; the others wait in [`Source::connect`], and one of them takes over.
pub trait Source: Send + 'static {
    /// Its stream.
    type Stream: Stream<Error = Self::Error>;
    /// Why it cannot go on.
    type Error: Classified + Send + Sync + 'static;

    /// A stream of this history that goes on from what was acknowledged last. May be dropped at any time.
    fn connect(&mut self, history: coherence::Source) -> impl Future<Output = Result<Connected<Self::Stream>, Self::Error>> + Send;
}

/// A stream that has been started.
pub struct Connected<S> {
    /// The stream.
    pub stream: S,
    /// Where it begins, for people.
    pub place: String,
    /// Where it begins, if it is a place of the log: every change whose commit ends later is delivered.
    pub start: Option<Lsn>,
    /// What may never have been delivered to anybody.
    pub begins_after: Vec<Beginning>,
}

/// Changes in the order of their commits, each transaction whole.
pub trait Stream: Send + 'static {
    /// Why it cannot go on.
    type Error: Classified + Send + Sync + 'static;

    /// Adds what has come, at least one event. May be dropped at any time without loss.
    fn next_batch(&mut self, events: &mut Vec<Event>) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Says that nothing up to here is needed any more.
    fn acknowledge(&mut self, place: Place);
}
