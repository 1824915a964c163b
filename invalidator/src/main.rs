//! Freshline.
fn main() {}
