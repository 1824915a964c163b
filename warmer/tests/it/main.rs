//! The warmer on real servers: each test has a database, a Redis and processes of its own, and opens the cache as an invalidator does.

mod away;
mod endings;
mod ids;
mod rig;
mod tls;
mod usage;
mod warm;
