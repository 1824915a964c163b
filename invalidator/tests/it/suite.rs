//! The conformance suite: what holds wherever changes come from, once for each source. A test's body is written once, and knows of
//! its source only by what [`stage::Feed`] and [`crate::hands`] do for it.

mod changes;
mod deliveries;
mod holes;
mod large;
