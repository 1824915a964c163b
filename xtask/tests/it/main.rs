//! `cargo xtask up` on real servers, with programs that only pretend; and what lies in `compose/`, as far as it can be tried here.

mod composed;
mod containers;
mod fake;
mod load;
mod prometheus;
mod readme;
mod up;
