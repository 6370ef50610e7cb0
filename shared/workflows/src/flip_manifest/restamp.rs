//! The re-stamp at a gate.

use lifeboat_domain::flip::{Decision, Gate, gate, restamp as decide};

use super::observe::observe;
use super::publish::{Written, publish};
use super::{FlipAct, FlipError, FlipPolicy, Ports, RACES_MAX};
use crate::inventory::{Which, load_verified_manifest};
use crate::ports::{Bucket, Clock};

/// Puts a new owner's generation on the pointer, if that is due.
pub(super) async fn restamp(
    ports: &Ports<'_, impl Bucket, impl Clock>,
    policy: &FlipPolicy,
) -> Result<Option<FlipAct>, FlipError> {
    for _ in 0..RACES_MAX {
        let seen = observe(ports.bucket).await?;
        let world = seen.world(&policy.cluster, None);
        let Gate::Due { backup_id } = gate(&world) else {
            return Ok(None);
        };
        let flip = match decide(&world) {
            Decision::Flip(flip) => flip,
            Decision::Refuse { reasons } => {
                let reasons = reasons.iter().map(ToString::to_string).collect();
                return Ok(Some(FlipAct::Refused { backup_id, reasons }));
            }
            Decision::AlreadyPublished | Decision::Hold { .. } | Decision::Wait(_) => return Ok(None),
        };
        // The pointer's own reference is held when it names the same backup.
        let which = match seen.pointer().filter(|p| p.backup_id == backup_id) {
            Some(pointer) => Which::Pointer(pointer),
            None => Which::Backup(&backup_id),
        };
        let proof = load_verified_manifest(ports.bucket, which).await.map_err(FlipError::Load)?;
        match publish(ports, policy, &seen, &flip, &proof).await? {
            Written::Lost => {}
            Written::Yes(pointer) => {
                let (generation, sequence) = (pointer.generation, pointer.sequence);
                return Ok(Some(FlipAct::Restamped { backup_id, generation, sequence }));
            }
        }
    }
    Err(FlipError::LostRaces)
}
