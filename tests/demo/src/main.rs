//! lifeboat-demo
fn main() {}
