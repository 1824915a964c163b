//! `cargo xtask up` on real servers, with programs that only pretend.

mod fake;
mod readme;
mod up;
