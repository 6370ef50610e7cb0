//! lifeboat-cli
fn main() {}
