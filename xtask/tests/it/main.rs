//! `cargo xtask up` on real servers, with programs that only pretend; what the documentation shows; and what lies in `compose/`,
//! as far as it can be tried here.

mod composed;
mod containers;
mod fake;
mod load;
mod page;
mod pages;
mod prometheus;
mod up;
mod usual_way;
