//! The seed of tests that choose at random.

/// The variable that `cargo xtask test --seed N` sets.
pub const SEED_VARIABLE: &str = "STAGE_SEED";

/// The seed to choose by: that of `cargo xtask test --seed N`, else a new one. It is printed, so that a failing test shows it.
///
/// # Panics
/// If the variable is set to something else than a number.
pub fn seed() -> u64 {
    let seed = match std::env::var(SEED_VARIABLE) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{SEED_VARIABLE}={text:?}: write a whole number")),
        Err(_) => new_seed(),
    };
    println!("seed {seed}: `cargo xtask test --seed {seed}` chooses like this again");
    seed
}

/// A random seed, of 32 bits at most so that it is easily typed.
pub fn new_seed() -> u64 {
    u64::from(uuid::Uuid::new_v4().as_fields().0)
}
