//! Whether what is stored can be changed without anybody noticing (R45).
//!
//! A small cluster on the twins takes a backup with the real functions. Then one thing is changed: a bit, a length, a
//! name, a version, a row, a field; of an object, a descriptor, or any document that vouches for it; *as is*, or
//! *resealed*, with every digest above it recomputed as a buggy or hostile writer would. Then the real functions go on:
//! verification, flip, and the restore of a lost node up to its gate. [`judge`](judge::judge) says who noticed first.
//!
//! What it does not do is trust itself: [`checks`] reads the names of all checks out of the sources, so that a check
//! that nothing here provokes is found; and every check can be made blind (`lifeboat_domain::verify::blind`), which
//! the suite must notice.

pub mod changes;
pub mod checks;
pub mod cluster;
pub mod judge;
pub mod provoked;
pub mod reseal;
pub mod suite;
