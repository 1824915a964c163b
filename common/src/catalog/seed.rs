//! Products to begin with: fifteen that are written out, and any number that are made.

mod generator;
mod load;

pub use load::{GENERATED_ROWS_MAX, Loaded, SeedError, generate, plant};
