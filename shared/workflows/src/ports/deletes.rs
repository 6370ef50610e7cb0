//! Deleting, a port of its own: who is not given it cannot delete.

use super::Fault;

/// How many keys one call takes at most, as S3's DeleteObjects does.
pub const KEYS_MAX: usize = 1_000;

/// Puts delete markers over current objects of a bucket with versions. Removing versions is nobody's: S3's lifecycle
/// does that, long after.
pub trait Deletes: Send + Sync {
    /// Hides the current object of each of at most [`KEYS_MAX`] keys behind a delete marker. A key without a current
    /// object is no error, so the same call may be made again.
    ///
    /// # Errors
    /// When any of the keys was not hidden; the others may have been.
    fn hide(&self, keys: &[String]) -> impl Future<Output = Result<(), Fault>> + Send;
}
