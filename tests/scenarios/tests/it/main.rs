//! The whole product on the local stack: the emulator with `template.yaml` deployed in it, the real function binaries, the
//! host's own scripts, and the node double. Each scenario asserts on the data and on the record in the bucket.

mod demo;
mod freeze;
mod host;
mod input;
mod load;
mod protection;
mod recovery;
mod refusals;
mod replacement;
mod support;
mod wiring;
