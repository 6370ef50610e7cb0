//! flip-manifest
fn main() {}
