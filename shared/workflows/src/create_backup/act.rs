//! Acts once, and records.

use jiff::Timestamp;
use lifeboat_domain::create::writers::Freeze;
use lifeboat_domain::create::{self, CloseReason, Decision, PostAnswer, WaitReason};
use lifeboat_domain::expectations::{Expectations, ObservedAfter};
use lifeboat_domain::keys::{Function, Key};
use lifeboat_domain::runs::{CancelCause, CreatePhase, CreateRun, NamedBackup, OpenBackup};

use super::observe::{Sight, State};
use super::{Error, Outcome, Ports, Session, restart};
use crate::evidence::Reading;
use crate::invocation::Turn;
use crate::ports::bucket::PutOutcome;
use crate::ports::node::NodeError;
use crate::ports::{Addresses, Bucket, Clock, Group, Hosts, Node, Nodes};
use crate::store;

/// Does what was decided. After a lost race, and after any step, it is decided again.
pub(super) async fn act<B: Bucket, M: Bucket, G: Group, N: Nodes, H: Hosts, A: Addresses, C: Clock>(
    ports: &Ports<'_, B, M, G, N, H, A, C>,
    mut state: State,
    sight: Sight,
    decision: Decision,
    now: Timestamp,
    session: &mut Session,
) -> Result<Turn<Outcome>, Error> {
    let bucket = ports.bucket;
    match decision {
        Decision::Idle(reason) => {
            if let Sight::Wishes { refused, cursor, .. } = sight {
                session.refused_requests = refused;
                if cursor != state.run.marker_cursor {
                    let run = CreateRun { marker_cursor: cursor, ..state.run.clone() };
                    swap(bucket, &mut state, run).await?;
                }
            }
            Ok(Turn::Done(session.outcome("idle", reason.to_string(), None, reason.needs_attention())))
        }
        Decision::Wait(reason) => Ok(waiting(session, state.run.open.as_ref(), &reason)),
        Decision::Open { trigger, is_final, attempt, requests } => {
            let Some(ownership) = &state.ownership else { return Ok(Turn::Again) };
            let step = format!("opened attempt {attempt} for {trigger:?}");
            let run = create::opened(&state.run, ownership, trigger, is_final, attempt, &requests, now);
            record(bucket, &mut state, run, session, step).await
        }
        Decision::Restamp => {
            let run = create::restamped(&state.run, now);
            swap(bucket, &mut state, run).await?;
            let reason = WaitReason::Running { detail: "the record waits for a later second".to_owned() };
            Ok(waiting(session, state.run.open.as_ref(), &reason))
        }
        Decision::Name(name) => {
            let step = format!("named {}", name.backup_id);
            let run = create::named(&state.run, name);
            record(bucket, &mut state, run, session, step).await
        }
        Decision::RecordExpectations => {
            if let (Sight::Read(reading), Some((open, named))) = (sight, open(&state)) {
                let key = Key::Expectations(named.backup_id.clone());
                let freeze = state.run.writers.as_ref().and_then(|w| w.proof.clone()).filter(|_| open.is_final);
                store::create(bucket, &key, &expectations(reading, open, named, freeze)).await?;
                session.did("recorded expectations");
            }
            Ok(Turn::Again)
        }
        Decision::Ask => {
            let run = create::moved(&state.run, CreatePhase::Asked);
            match (swap(bucket, &mut state, run).await?, sight) {
                (true, Sight::Recorded(expectations)) => post(ports, state, &expectations, now, session).await,
                _ => Ok(Turn::Again),
            }
        }
        Decision::Post => {
            let Some((_, named)) = open(&state) else { return Ok(Turn::Again) };
            let key = Key::Expectations(named.backup_id.clone());
            match store::read::<Expectations>(bucket, &key).await? {
                Some(expectations) => post(ports, state, &expectations.value, now, session).await,
                None => close(ports, state, CloseReason::ForeignExpectations, now, session).await,
            }
        }
        Decision::Cancel(cause) => cancel(ports, state, cause, session).await,
        Decision::Restart => restart::restart(ports, state, session).await,
        Decision::CancelAgain => delete(ports, &state, session).await,
        Decision::Save => {
            let run = create::moved(&state.run, CreatePhase::Saved);
            record(bucket, &mut state, run, session, "saved".to_owned()).await
        }
        Decision::RecordAfter => {
            if let (Sight::After(observation), Some((_, named))) = (sight, open(&state)) {
                let backup_id = named.backup_id.clone();
                let key = Key::ObservedAfter(backup_id.clone());
                store::create(bucket, &key, &ObservedAfter { backup_id, observation }).await?;
                session.did("recorded what the node shows afterwards");
            }
            Ok(Turn::Again)
        }
        Decision::Hand => {
            let run = create::moved(&state.run, CreatePhase::Handed);
            record(bucket, &mut state, run, session, "handed to verification".to_owned()).await
        }
        Decision::Close(reason) => close(ports, state, reason, now, session).await,
    }
}

fn open(state: &State) -> Option<(&OpenBackup, &NamedBackup)> {
    let open = state.run.open.as_ref()?;
    Some((open, open.named.as_ref()?))
}

/// Verification tells nobody when it ends, and Weaviate not when it is free: the next tick asks, except for a final
/// backup, which an instance waits for.
pub(super) fn waiting(session: &Session, open: Option<&OpenBackup>, reason: &WaitReason) -> Turn<Outcome> {
    let outcome = session.outcome("waiting", reason.to_string(), open, reason.needs_attention());
    match reason {
        WaitReason::Verification if !open.is_some_and(|o| o.is_final) => Turn::Done(outcome),
        WaitReason::Busy { .. } if !open.is_some_and(|o| o.is_final) => Turn::Done(outcome),
        WaitReason::Verification
        | WaitReason::Elsewhere { .. }
        | WaitReason::Evidence { .. }
        | WaitReason::Running { .. }
        | WaitReason::StatusRefused { .. }
        | WaitReason::NotStoredYet { .. }
        | WaitReason::Writers { .. }
        | WaitReason::Busy { .. }
        | WaitReason::Cancelling { .. } => Turn::Waiting(outcome),
    }
}

fn expectations(reading: Reading, open: &OpenBackup, named: &NamedBackup, freeze: Option<Freeze>) -> Expectations {
    Expectations {
        backup_id: named.backup_id.clone(),
        generation: open.generation,
        instance: open.instance.clone(),
        trigger: open.trigger.clone(),
        is_final: open.is_final,
        recorded_at: named.recorded_at,
        weaviate_version: reading.weaviate_version,
        node_name: reading.node_name,
        adapter: reading.adapter,
        collections: reading.collections,
        freeze,
    }
}

/// Replaces the run record that was read; `false` when somebody else was first.
pub(super) async fn swap<B: Bucket>(bucket: &B, state: &mut State, run: CreateRun) -> Result<bool, Error> {
    let key = Key::CurrentRun(Function::CreateBackup);
    match store::swap(bucket, &key, state.etag.as_deref(), &run).await? {
        PutOutcome::Written { etag, .. } => {
            let (from, to) = (state.run.open.as_ref().map(|o| o.phase), run.open.as_ref().map(|o| o.phase));
            if from != to {
                let open = run.open.as_ref().or(state.run.open.as_ref());
                let id = open.and_then(|o| o.named.as_ref()).map(|n| &n.backup_id);
                tracing::info!(backup.id = ?id, phase.from = ?from, phase.to = ?to, "the backup is a phase further");
            }
            state.run = run;
            state.etag = Some(etag);
            Ok(true)
        }
        PutOutcome::Lost => Ok(false),
    }
}

async fn record<B: Bucket>(
    bucket: &B,
    state: &mut State,
    run: CreateRun,
    session: &mut Session,
    step: String,
) -> Result<Turn<Outcome>, Error> {
    if swap(bucket, state, run).await? {
        session.did(step);
    }
    Ok(Turn::Again)
}

/// Asks Weaviate for the backup of every class that is expected, by name: without a list it leaves out silently what
/// the key may not read (facts: weaviate.md §5).
async fn post<B: Bucket, M: Bucket, G: Group, N: Nodes, H: Hosts, A: Addresses, C: Clock>(
    ports: &Ports<'_, B, M, G, N, H, A, C>,
    state: State,
    expectations: &Expectations,
    now: Timestamp,
    session: &mut Session,
) -> Result<Turn<Outcome>, Error> {
    let Some((open, named)) = open(&state) else { return Ok(Turn::Again) };
    let include: Vec<String> = expectations.collections.keys().cloned().collect();
    let answer = match ports.nodes.at(&open.address).create_backup(&named.backup_id, &include).await {
        Ok(accepted) => PostAnswer::Accepted(accepted.classes),
        Err(error @ NodeError::Unknown { .. }) => PostAnswer::Silent(error.to_string()),
        // Only the message: what was asked names the id too, and would make every refusal look like "already there".
        Err(NodeError::Refused { message, .. } | NodeError::NotFound { message, .. }) => PostAnswer::Refused(message),
        Err(error @ NodeError::Unauthorized { .. }) => PostAnswer::Refused(error.to_string()),
    };
    session.did("asked Weaviate");
    match create::after_post(named.backup_id.as_str(), &include, answer) {
        Decision::Cancel(cause) => cancel(ports, state, cause, session).await,
        Decision::Close(reason) => close(ports, state, reason, now, session).await,
        Decision::Wait(reason) => Ok(waiting(session, state.run.open.as_ref(), &reason)),
        Decision::Idle(_)
        | Decision::Open { .. }
        | Decision::Restamp
        | Decision::Name(_)
        | Decision::RecordExpectations
        | Decision::Ask
        | Decision::Post
        | Decision::CancelAgain
        | Decision::Restart
        | Decision::Save
        | Decision::RecordAfter
        | Decision::Hand => Ok(Turn::Again),
    }
}

async fn cancel<B: Bucket, M: Bucket, G: Group, N: Nodes, H: Hosts, A: Addresses, C: Clock>(
    ports: &Ports<'_, B, M, G, N, H, A, C>,
    mut state: State,
    cause: CancelCause,
    session: &mut Session,
) -> Result<Turn<Outcome>, Error> {
    let run = create::cancelling(&state.run, cause);
    if !swap(ports.bucket, &mut state, run).await? {
        return Ok(Turn::Again);
    }
    session.did("decided to cancel");
    delete(ports, &state, session).await
}

/// Cancels at Weaviate. An unknown id is success there, and no answer is asked for again until patience ends.
async fn delete<B: Bucket, M: Bucket, G: Group, N: Nodes, H: Hosts, A: Addresses, C: Clock>(
    ports: &Ports<'_, B, M, G, N, H, A, C>,
    state: &State,
    session: &mut Session,
) -> Result<Turn<Outcome>, Error> {
    let Some((open, named)) = open(state) else { return Ok(Turn::Again) };
    match ports.nodes.at(&open.address).cancel_backup(&named.backup_id).await {
        Ok(()) => session.did("cancelled"),
        Err(error) => session.did(format!("could not cancel: {error}")),
    }
    let Some(cause) = open.cancel.clone() else { return Ok(Turn::Again) };
    Ok(waiting(session, Some(open), &WaitReason::Cancelling { cause }))
}

/// Records the end: first in the history, then in the run record, so that a crash between the two repeats the first.
async fn close<B: Bucket, M: Bucket, G: Group, N: Nodes, H: Hosts, A: Addresses, C: Clock>(
    ports: &Ports<'_, B, M, G, N, H, A, C>,
    mut state: State,
    reason: CloseReason,
    now: Timestamp,
    session: &mut Session,
) -> Result<Turn<Outcome>, Error> {
    if let Some((named, done)) = create::done(&state.run, &reason, now) {
        let key = Key::DoneRun(Function::CreateBackup, named.recorded_at, named.backup_id.to_string());
        store::create(ports.bucket, &key, &done).await?;
    }
    let run = create::closed(&state.run, &reason, now);
    if swap(ports.bucket, &mut state, run).await? {
        session.attention |= reason.needs_attention();
        session.did(format!("closed: {reason}"));
    }
    Ok(Turn::Again)
}
