//! Tests of the library against real servers.

mod model;
