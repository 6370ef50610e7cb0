//! verify-checksums
fn main() {}
