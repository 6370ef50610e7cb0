//! Abandoning a replacement: the reason on record first, launches suspended before the last time, ABANDON last.

use lifeboat_domain::keys::Key;
use lifeboat_domain::restore::Refusal;
use lifeboat_domain::restore::run::{GroupAttempts, OpenRestore, Phase, StepName};

use super::{Error, Outcome, Policy, Ports, Seen, close, record};
use crate::invocation::Turn;
use crate::ports::group::{Hook, HookAnswer, HookResult};
use crate::ports::{Clock, Group};
use crate::store;

/// Records that the instance is to be abandoned, and why.
pub(super) async fn abandon<P: Ports>(
    ports: &P,
    seen: &mut Seen,
    mut open: OpenRestore,
    refusal: &Refusal,
) -> Result<Turn<Outcome>, Error> {
    tracing::error!(instance = %open.instance, reason = %refusal, "a replacement is refused and will be abandoned");
    open.refusal = Some(refusal.to_string());
    open.phase = Phase::Abandoning;
    record(ports, seen, open).await
}

/// Answers the launch hook with ABANDON, having suspended launches when this generation's attempts are used up.
pub(super) async fn finish<P: Ports>(
    ports: &P,
    policy: &Policy,
    seen: &mut Seen,
    mut open: OpenRestore,
) -> Result<Turn<Outcome>, Error> {
    let attempts = store::read::<GroupAttempts>(ports.bucket(), &Key::RestoreGroup).await?;
    let attempts = attempts.map(|v| v.value).unwrap_or_default();
    if attempts.exhausted(policy.restore.attempts_max) && !seen.group.launches_suspended {
        ports.group().suspend_launches().await?;
        // Read back before the last ABANDON: an unsuspended group would launch and fail for ever.
        return Ok(Turn::Again);
    }
    let reason = open.refusal.clone().unwrap_or_default();
    let outcome = Outcome::Abandoned {
        instance: open.instance.to_string(),
        reason,
        attempt: attempts.instances.len(),
        launches_suspended: seen.group.launches_suspended,
    };
    match ports.group().complete(Hook::Launch, &open.instance, HookResult::Abandon).await? {
        HookAnswer::Accepted => {}
        // The group is looked at again in the next turn: it left, or the hook is not reached yet.
        HookAnswer::NotActive => return Ok(Turn::Waiting(outcome)),
    }
    open.note(StepName::Abandoned, ports.clock().now());
    close(ports, seen, open, None).await?;
    Ok(Turn::Done(outcome))
}
