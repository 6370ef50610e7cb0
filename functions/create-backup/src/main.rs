//! create-backup
fn main() {}
