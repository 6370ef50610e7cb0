//! What is looked at before a decision.

use futures::try_join;
use jiff::Timestamp;
use lifeboat_domain::create::{After, Answer, Asking, Before, Marker, MemberState, Policy, Seen, Stored, Verdict};
use lifeboat_domain::event::Hint;
use lifeboat_domain::expectations::{AfterObservation, Expectations, ObservedAfter};
use lifeboat_domain::ids::{BackupId, InstanceId};
use lifeboat_domain::keys::{Function, Key};
use lifeboat_domain::manifest::{GuardDecision, Manifest, Trigger};
use lifeboat_domain::ownership::Ownership;
use lifeboat_domain::pointer::Pointer;
use lifeboat_domain::runs::{CloseOutcome, CreatePhase, CreateRun, OpenBackup, VerifyRun};
use lifeboat_domain::weaviate::GlobalDescriptor;

use super::{Error, Ports, wishes};
use crate::evidence::{self, EvidenceError, Reading};
use crate::ports::group::{GroupState, LifecycleState};
use crate::ports::hosts::Agent;
use crate::ports::node::NodeError;
use crate::ports::{Addresses, Bucket, Clock, Group, Hosts, Node, Nodes};
use crate::store::{self, DOCUMENT_BYTES_MAX};

/// What every decision rests on.
pub(super) struct State {
    pub(super) ownership: Option<Ownership>,
    pub(super) pointer: Option<Pointer>,
    pub(super) run: CreateRun,
    pub(super) etag: Option<String>,
    pub(super) written_at: Timestamp,
    pub(super) member: MemberState,
    /// What proves that the instance is gone, if it is.
    pub(super) gone: Option<String>,
}

pub(super) async fn state<B: Bucket, M: Bucket, G: Group, N: Nodes, H: Hosts, A: Addresses, C: Clock>(
    ports: &Ports<'_, B, M, G, N, H, A, C>,
    now: Timestamp,
) -> Result<State, Error> {
    let stored = async {
        let run = Key::CurrentRun(Function::CreateBackup);
        let (ownership, pointer, run) = try_join!(
            store::read::<Ownership>(ports.bucket, &Key::Ownership),
            store::read::<Pointer>(ports.bucket, &Key::Pointer),
            store::read::<CreateRun>(ports.bucket, &run),
        )?;
        Ok::<_, Error>((ownership, pointer, run))
    };
    let listed = async { ports.group.describe().await.map_err(Error::from) };
    let ((ownership, pointer, run), group) = try_join!(stored, listed)?;
    let ownership = ownership.map(|o| o.value);
    let (etag, written_at) = run.as_ref().map_or((None, now), |r| (Some(r.etag.clone()), r.last_modified));
    let run = run.map(|r| r.value).unwrap_or_default();
    let looked_at = match (&run.open, &ownership) {
        (Some(open), _) => Some((&open.instance, &open.address)),
        (None, Some(owner)) => Some((&owner.owner, &owner.owner_address)),
        (None, None) => None,
    };
    let (mut member, mut proof) = (MemberState::Gone, None);
    if let Some((instance, address)) = looked_at {
        member = member_of(&group, instance);
        proof = gone(ports.hosts, &ports.nodes.at(address), &member, instance).await;
        // Auto Scaling keeps a dead instance under its terminate hook until somebody answers it.
        if proof.is_some() {
            member = MemberState::Gone;
        }
    }
    Ok(State { ownership, pointer: pointer.map(|p| p.value), run, etag, written_at, member, gone: proof })
}

fn member_of(group: &GroupState, instance: &InstanceId) -> MemberState {
    let Some(state) = group.state_of(instance) else { return MemberState::Gone };
    let elsewhere = |name: &str| MemberState::Elsewhere(name.to_owned());
    match state {
        LifecycleState::InService => MemberState::InService,
        LifecycleState::TerminatingWait => MemberState::Leaving,
        LifecycleState::TerminatingProceed | LifecycleState::Terminated => MemberState::Gone,
        LifecycleState::Pending => elsewhere("Pending"),
        LifecycleState::PendingWait => elsewhere("Pending:Wait"),
        LifecycleState::PendingProceed => elsewhere("Pending:Proceed"),
        LifecycleState::Terminating => elsewhere("Terminating"),
        LifecycleState::TerminatingRetained => elsewhere("Terminating:Retained"),
        LifecycleState::Other(name) => elsewhere(name),
    }
}

/// What the open backup's phase needs besides.
pub(super) enum Sight {
    Wishes { marker: Option<Marker>, requests: Vec<Asking>, refused: Vec<String>, cursor: Option<String> },
    Trigger(Option<Timestamp>),
    Recorded(Expectations),
    Read(Reading),
    Unread(String),
    Progress { stored: Stored, answer: Answer, expected: Option<Expectations>, gone: Option<String> },
    AfterRecorded,
    After(AfterObservation),
    AfterUnread(String),
    Verdict(Option<Verdict>),
}

impl Sight {
    pub(super) fn seen(&self) -> Seen<'_> {
        match self {
            Self::Wishes { marker, requests, .. } => {
                Seen::Wishes { marker: marker.clone(), requests: requests.clone() }
            }
            Self::Trigger(at) => Seen::Trigger(*at),
            Self::Recorded(expectations) => Seen::Before(Before::Recorded(expectations)),
            Self::Read(reading) => Seen::Before(Before::Read { empty: reading.is_empty() }),
            Self::Unread(detail) => Seen::Before(Before::Silent(detail.clone())),
            Self::Progress { stored, answer, expected, gone } => Seen::Progress {
                stored: stored.clone(),
                answer: answer.clone(),
                expected: expected.as_ref(),
                gone: gone.clone(),
            },
            Self::AfterRecorded => Seen::After(After::Recorded),
            Self::After(_) => Seen::After(After::Known),
            Self::AfterUnread(detail) => Seen::After(After::Silent(detail.clone())),
            Self::Verdict(verdict) => Seen::Verdict(verdict.clone()),
        }
    }
}

pub(super) async fn besides<B: Bucket, M: Bucket, G: Group, N: Nodes, H: Hosts, A: Addresses, C: Clock>(
    ports: &Ports<'_, B, M, G, N, H, A, C>,
    policy: &Policy,
    hint: &Hint,
    state: &State,
) -> Result<Sight, Error> {
    let Some(open) = &state.run.open else {
        return wishes::look(ports.bucket, ports.markers, policy, hint, state).await;
    };
    let node = ports.nodes.at(&open.address);
    // Only what is opened has no id.
    let Some(id) = open.named.as_ref().map(|named| &named.backup_id) else {
        return Ok(Sight::Trigger(marker_date(ports.markers, open).await?));
    };
    match open.phase {
        CreatePhase::Opened => Ok(Sight::Trigger(marker_date(ports.markers, open).await?)),
        CreatePhase::Named => {
            // Reading takes a while: not for a backup that will not be asked for.
            let entitled = match state.member {
                MemberState::InService => true,
                MemberState::Leaving => open.is_final,
                MemberState::Elsewhere(_) | MemberState::Gone => false,
            };
            match store::read::<Expectations>(ports.bucket, &Key::Expectations(id.clone())).await? {
                Some(recorded) => Ok(Sight::Recorded(recorded.value)),
                None if !entitled => Ok(Sight::Unread("the node is not asked".to_owned())),
                None => Ok(match evidence::record_expectations(&node).await {
                    Ok(reading) => Sight::Read(reading),
                    Err(error) => Sight::Unread(chain(&error)),
                }),
            }
        }
        CreatePhase::Asked => {
            let stored = stored(ports.bucket, id).await?;
            let gone = state.gone.clone();
            let answer = match gone {
                Some(_) => Answer::Silent("the node is gone".to_owned()),
                None => match node.backup_status(id).await {
                    Ok(progress) => Answer::Status(progress.status, progress.error),
                    Err(NodeError::NotFound { .. }) => Answer::NotFound,
                    Err(error @ (NodeError::Unauthorized { .. } | NodeError::Refused { .. })) => {
                        Answer::Refused(error.to_string())
                    }
                    Err(error @ NodeError::Unknown { .. }) => Answer::Silent(error.to_string()),
                },
            };
            let expected = match stored {
                Stored::Success { .. } => {
                    store::read::<Expectations>(ports.bucket, &Key::Expectations(id.clone())).await?.map(|e| e.value)
                }
                Stored::Absent | Stored::Unreadable(_) | Stored::Running | Stored::Failed(_) => None,
            };
            Ok(Sight::Progress { stored, answer, expected, gone })
        }
        CreatePhase::Saved => after(ports, state, id, &node).await,
        CreatePhase::Handed => Ok(Sight::Verdict(verdict(ports.bucket, state, id).await?)),
    }
}

async fn marker_date<M: Bucket>(markers: &M, open: &OpenBackup) -> Result<Option<Timestamp>, Error> {
    match &open.trigger {
        Trigger::Marker { key, .. } => Ok(markers.head(key).await?.map(|marker| marker.last_modified)),
        Trigger::Schedule | Trigger::Terminate { .. } | Trigger::Request { .. } => Ok(None),
    }
}

async fn stored<B: Bucket>(bucket: &B, id: &BackupId) -> Result<Stored, Error> {
    let key = Key::backup_config(id).to_string();
    Ok(match bucket.get(&key, DOCUMENT_BYTES_MAX).await? {
        None => Stored::Absent,
        Some(object) => match serde_json::from_slice::<GlobalDescriptor>(&object.body) {
            Ok(descriptor) => Stored::of(id.as_str(), &descriptor),
            Err(error) => Stored::Unreadable(error.to_string()),
        },
    })
}

/// The proof that an instance is gone, if it is. No one sign is enough: SSM calls an instance online for minutes after
/// its end, Auto Scaling lists a dead one under its hook, and a node that does not answer may only be slow.
async fn gone<H: Hosts, N: Node>(hosts: &H, node: &N, member: &MemberState, instance: &InstanceId) -> Option<String> {
    let listed = match member {
        MemberState::InService => return None,
        MemberState::Leaving => "as Terminating:Wait",
        MemberState::Elsewhere(state) => state,
        MemberState::Gone => "no more",
    };
    let agent = match hosts.agent(instance).await {
        Ok(Agent::Online { .. }) => return None,
        // It may come back, unless Auto Scaling has ended it.
        Ok(Agent::Lost) if *member != MemberState::Gone => return None,
        Ok(Agent::Lost) => "has lost",
        Ok(Agent::Absent) => "does not know",
        Err(fault) => {
            // A final backup must not fail because SSM is busy: what is not proved is not gone.
            tracing::warn!(%fault, "whether the instance is gone cannot be asked");
            return None;
        }
    };
    if matches!(node.live().await, Ok(true)) {
        return None;
    }
    Some(format!("Auto Scaling lists {instance} {listed}, SSM {agent} it, and its node does not answer"))
}

async fn after<B: Bucket, M: Bucket, G: Group, N: Nodes, H: Hosts, A: Addresses, C: Clock>(
    ports: &Ports<'_, B, M, G, N, H, A, C>,
    state: &State,
    id: &BackupId,
    node: &N::Node,
) -> Result<Sight, Error> {
    let key = Key::ObservedAfter(id.clone());
    if store::read::<ObservedAfter>(ports.bucket, &key).await?.is_some() {
        return Ok(Sight::AfterRecorded);
    }
    if let Some(proof) = state.gone.clone() {
        return Ok(Sight::After(AfterObservation::NodeGone { proof }));
    }
    let Some(expected) = store::read::<Expectations>(ports.bucket, &Key::Expectations(id.clone())).await? else {
        return Ok(Sight::AfterUnread("expectations.json is not there any more".to_owned()));
    };
    Ok(match evidence::observe_after(node, &expected.value).await {
        Ok(observation) => Sight::After(observation),
        Err(error) => Sight::AfterUnread(chain(&error)),
    })
}

/// What became of a backup: the verdict that verification or flip recorded, else what the pointer or its manifest say.
/// A manifest that says publish is no verdict yet: the flip may still be refused.
async fn verdict<B: Bucket>(bucket: &B, state: &State, id: &BackupId) -> Result<Option<Verdict>, Error> {
    let run = store::read::<VerifyRun>(bucket, &Key::CurrentRun(Function::VerifyChecksums)).await?;
    let closed = run.and_then(|run| run.value.closed.into_iter().rev().find(|c| &c.backup_id == id));
    if let Some(closed) = closed {
        return Ok(Some(Verdict { outcome: closed.outcome, reasons: closed.reasons }));
    }
    let named = state
        .pointer
        .as_ref()
        .is_some_and(|p| &p.backup_id == id || p.previous.as_ref().is_some_and(|previous| &previous.backup_id == id));
    if named {
        return Ok(Some(Verdict { outcome: CloseOutcome::Published, reasons: Vec::new() }));
    }
    let manifest = store::read::<Manifest>(bucket, &Key::Manifest(id.clone())).await?;
    Ok(manifest.and_then(|manifest| match manifest.value.decision {
        GuardDecision::Publish => None,
        GuardDecision::Hold { reasons } => Some(Verdict { outcome: CloseOutcome::Held, reasons }),
        GuardDecision::Refuse { reasons } => Some(Verdict { outcome: CloseOutcome::Refused, reasons }),
    }))
}

fn chain(error: &EvidenceError) -> String {
    match error {
        EvidenceError::Node { source, .. } => format!("{error}: {source}"),
        EvidenceError::NotOneNode { .. } => error.to_string(),
    }
}
