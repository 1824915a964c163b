//! `cargo xtask up` on real servers, with programs that only pretend.

mod fake;
mod load;
mod readme;
mod up;
