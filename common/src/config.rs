//! Settings: each described once, read from `FRESHLINE_…` variables, and checked before anything is bound or connected.
//!
//! A process lists its settings as constants, reads them with one [`Reader`], and gets either its configuration or every
//! [`Fault`] at once. The same constants make the settings table and `.env.example`.

mod address;
mod fault;
mod form;
mod names;
mod options;
mod reader;
mod servers;
mod setting;
mod shared;
mod vars;

pub use address::{PostgresUrl, RedisUrl};
pub use fault::{Fault, Faults};
pub use form::Word;
pub use options::Options;
pub use reader::{Reader, Unknown, tell_unknown, unknown_names};
pub use setting::{Default, Description, Optional, Setting, env_example, listing, markdown_table};
pub use shared::{
    ABSENT_TTL, LEASE_TTL, Life, MAX_STALENESS, NAMESPACE, PUBLICATION, RELAY_SLOT, RULES, SLOT, SLOT_DROP, SLOT_WARN, STRIPES,
    Shared, VALUE_TTL,
};
pub use vars::{Environment, Vars};

/// What the name of every variable begins with.
pub const PREFIX: &str = "FRESHLINE_";

#[cfg(test)]
mod tests;
