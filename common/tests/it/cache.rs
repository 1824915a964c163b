//! The read path on a real Redis. The change stream is played by hand, and Postgres is made up: see [`rig`].

mod coalescing;
mod fallback;
mod faults;
mod garbage;
mod hits;
mod leases;
mod many;
mod pages;
mod proofs;
mod rig;
mod told;
