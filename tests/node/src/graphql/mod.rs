//! The GraphQL that a backup controller sends: `Aggregate … meta{count}` and `Get … _additional{…}`. Anything else is a GraphQL error with status 200.

pub(crate) mod execute;
pub(crate) mod parser;
