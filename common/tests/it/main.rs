//! The library on real servers.

mod catalog;
