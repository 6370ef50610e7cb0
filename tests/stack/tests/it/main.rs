//! What the product relies on in the local stack, each promise held by a test. Results are summarised in tests/README.md.

mod address;
mod contracts;
mod groups;
mod host;
mod product;
mod rights;
mod s3;
mod small;
mod stacks;
