//! Writing the pointer: staged first, then by compare-and-swap, then read back.

use lifeboat_domain::document::encode;
use lifeboat_domain::flip::Flip;
use lifeboat_domain::keys::Key;
use lifeboat_domain::pointer::Pointer;
use lifeboat_domain::verify::VerifiedManifest;

use super::observe::{Seen, read_pointer};
use super::{FlipError, FlipPolicy, Ports};
use crate::ports::bucket::{PutMode, PutOutcome};
use crate::ports::{Bucket, Clock};
use crate::store::{self, StoreError};

/// How a pointer write ended.
pub(super) enum Written {
    /// The pointer is this one, read back.
    Yes(Box<Pointer>),
    /// Somebody else wrote first, or at once afterwards: decide again.
    Lost,
}

/// Writes the pointer that was decided against `seen`. The staged candidate goes first because readers of the old
/// runbook know it; it gives no authority, and the bytes written are those composed here.
pub(super) async fn publish(
    ports: &Ports<'_, impl Bucket, impl Clock>,
    policy: &FlipPolicy,
    seen: &Seen,
    flip: &Flip,
    proof: &VerifiedManifest,
) -> Result<Written, FlipError> {
    let bucket = ports.bucket;
    let pointer = flip.compose(proof, &policy.cluster, ports.clock.now()).map_err(FlipError::Compose)?;
    let bytes = encode(&pointer);
    let staged = Key::PointerStaged.to_string();
    let head = bucket.head(&staged).await;
    let head = head.map_err(|source| FlipError::Store(StoreError::Bucket { key: staged, source }))?;
    let mode = |etag: Option<String>| etag.map_or(PutMode::Create, PutMode::Update);
    let put = store::put(bucket, &Key::PointerStaged, bytes.clone(), mode(head.map(|h| h.etag))).await;
    if put.map_err(FlipError::Store)? == PutOutcome::Lost {
        return Ok(Written::Lost);
    }
    let expected = seen.pointer.as_ref().map(|p| p.etag.clone());
    let put = store::put(bucket, &Key::Pointer, bytes.clone(), mode(expected)).await;
    if put.map_err(FlipError::Store)? == PutOutcome::Lost {
        return Ok(Written::Lost);
    }
    match read_pointer(bucket).await? {
        Some(back) if back.body == bytes => Ok(Written::Yes(Box::new(pointer))),
        Some(_) | None => Ok(Written::Lost),
    }
}
