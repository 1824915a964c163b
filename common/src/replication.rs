//! Changes from Postgres's own stream: the decoder, the streaming client, slots, and what to check before the start.
//!
//! A [`Session`] is connected first and holds still: it says which server this is, looks up the slot or makes it, and keeps the
//! snapshot that a new slot exports. [`Session::start`] turns it into a [`ChangeStream`], which delivers
//! [`Event`](crate::change::Event)s and acknowledges nothing by itself.

mod client;
mod error;
mod guard;
mod held;
pub mod pgoutput;
mod preflight;
mod pump;
mod queue;
mod settings;
mod slot;
mod stream;

pub use error::ReplicationError;
pub use guard::{SlotGuard, SlotLimits};
pub use held::{HeldBack, held_back};
pub use preflight::{Finding, Follower, preflight};
pub use settings::{SlotName, SlotNameSyntax, StreamSettings, TEXT_SETTINGS};
pub use slot::{NewSlot, Server, Session, SlotState, Started, start};
pub use stream::{BatchLimits, ChangeStream};
