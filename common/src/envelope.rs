//! Envelopes: changes in the shape that Debezium gives them, as JSON, with or without schemas. Pure.
//!
//! [`decode()`] reads one message as far as that goes without knowing the table; [`Envelope::change`] then makes a row change of it,
//! with every value as Postgres prints it. [`Encoder`] makes such messages from the direct source's events. In `source` it writes
//! some fields more than Debezium: the whole `xid`, `end` (of the commit), `ordinal` and `last` (the row's place in its
//! transaction), and `history` (the identity of the Postgres history).
//! [`Sequence`] puts the messages of a log back together as transactions.
//!
//! What cannot be told exactly from a message is [`Datum::Unchanged`](crate::change::Datum::Unchanged): unknown, never guessed.

mod encode;
mod live;
mod moment;
mod number;
mod poison;
mod record;
mod row;
mod sequence;
mod table;
#[cfg(test)]
mod tests;
mod value;
mod wire;

pub use encode::{Encoder, Posting, Stamp};
pub use poison::{Partial, Poison, Reason};
pub use record::{Boundary, Envelope, Heartbeat, Hole, Logical, Operation, Origin, Record, decode};
pub use row::Notes;
pub use sequence::{Now, Sequence};
pub use table::{Relations, Table};
pub use value::Numerics;

/// What stands for a value that the log does not hold, as Debezium writes it (`unavailable.value.placeholder`).
const UNAVAILABLE: &str = "__debezium_unavailable_value";
