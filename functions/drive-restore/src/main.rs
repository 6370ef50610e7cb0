//! drive-restore
fn main() {}
