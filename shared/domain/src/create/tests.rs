use std::collections::BTreeMap;

use super::*;
use crate::expectations::{CollectionExpectation, EvidenceAdapter};
use crate::ids::{BackupId, Generation, InstanceId, Sha256Digest};
use crate::ownership::Origin;
use crate::runs::{CreatePhase, OpenBackup};

const OWNER: &str = "i-0a";

fn at(minute: i64) -> Timestamp {
    "2026-11-20T00:00:00Z".parse::<Timestamp>().unwrap() + jiff::SignedDuration::from_mins(minute)
}

fn policy() -> Policy {
    Policy::new("indexing/".into(), Duration::from_secs(3600), Duration::from_secs(1800))
}

fn instance(id: &str) -> InstanceId {
    InstanceId::parse(id).unwrap()
}

fn ownership() -> Ownership {
    Ownership {
        cluster: "c".into(),
        generation: Generation(2),
        owner: instance(OWNER),
        owner_address: "127.16.0.1".into(),
        origin: Origin::Empty,
        opened_at: at(-1000),
    }
}

/// The world at minute 100, with what a test changes of it.
struct World {
    ownership: Option<Ownership>,
    member: MemberState,
    run: CreateRun,
    now: Timestamp,
    written_at: Timestamp,
}

impl World {
    fn new(run: CreateRun) -> Self {
        Self { ownership: Some(ownership()), member: MemberState::InService, run, now: at(100), written_at: at(99) }
    }

    fn decide(&self, seen: Seen<'_>) -> Decision {
        let facts = Facts {
            now: self.now,
            ownership: self.ownership.as_ref(),
            member: self.member.clone(),
            pointer: None,
            run: &self.run,
            written_at: self.written_at,
            seen,
        };
        decide(&facts, &policy())
    }

    fn wishes(&self, marker: Option<i64>, requests: &[i64]) -> Decision {
        let marker = marker.map(|minute| Marker {
            key: "indexing/d/_SUCCESS".into(),
            dataset: "d".into(),
            written_at: at(minute),
        });
        let requests =
            requests.iter().map(|m| Asking { id: format!("r{m}"), by: "ann".into(), written_at: at(*m) }).collect();
        self.decide(Seen::Wishes { marker, requests })
    }
}

/// A record whose newest verdict covers what is older than this minute.
fn covered(minute: i64) -> CreateRun {
    let (covered_through, attempted_through) = (Some(at(minute)), Some(at(minute)));
    CreateRun { covered_through, attempted_through, ..CreateRun::default() }
}

fn failed(attempts: u32, minute: i64, is_final: bool) -> CreateRun {
    let last = crate::runs::ClosedBackup {
        backup_id: None,
        recorded_at: None,
        outcome: CloseOutcome::Failed,
        reason: "stuck: x".into(),
        is_final,
        instance: instance(OWNER),
        closed_at: at(minute),
    };
    CreateRun { failed_attempts: attempts, last: Some(last), owed: Some(Trigger::Schedule), ..covered(90) }
}

fn open(phase: CreatePhase) -> CreateRun {
    let named = (phase > CreatePhase::Opened)
        .then(|| NamedBackup { backup_id: BackupId::parse("b").unwrap(), recorded_at: at(98) });
    let open = OpenBackup {
        trigger: Trigger::Schedule,
        generation: Generation(2),
        instance: instance(OWNER),
        address: "127.16.0.1".into(),
        is_final: false,
        attempt: 1,
        phase,
        named,
        cancel: None,
        opened_at: at(98),
        restart: None,
    };
    CreateRun { open: Some(open), ..covered(50) }
}

fn asked(cancel: Option<CancelCause>) -> World {
    let mut world = World::new(open(CreatePhase::Asked));
    world.run.open.as_mut().unwrap().cancel = cancel;
    world
}

fn expectations() -> Expectations {
    let collection = CollectionExpectation {
        definition_sha256: Sha256Digest::of(b""),
        count: 1,
        tenants: BTreeMap::new(),
        canaries: Vec::new(),
    };
    Expectations {
        backup_id: BackupId::parse("b").unwrap(),
        generation: Generation(2),
        instance: instance(OWNER),
        trigger: Trigger::Schedule,
        is_final: false,
        recorded_at: at(98),
        weaviate_version: "1.38.11".into(),
        node_name: "weaviate-0".into(),
        adapter: EvidenceAdapter::Rest,
        collections: BTreeMap::from([("A".to_owned(), collection.clone()), ("B".to_owned(), collection)]),
        freeze: None,
    }
}

fn progress<'a>(stored: Stored, answer: Answer, expected: &'a Expectations) -> Seen<'a> {
    Seen::Progress { stored, answer, expected: Some(expected), gone: None }
}

fn status(status: OperationStatus) -> Answer {
    Answer::Status(status, String::new())
}

fn success(classes: &[&str]) -> Stored {
    Stored::Success { classes: classes.iter().map(|c| (*c).to_owned()).collect() }
}

fn idle_code(decision: &Decision) -> String {
    let Decision::Idle(reason) = decision else { panic!("{decision:?}") };
    reason.to_string().split(':').next().unwrap().to_owned()
}

fn close_code(decision: &Decision) -> String {
    let Decision::Close(reason) = decision else { panic!("{decision:?}") };
    reason.to_string().split(':').next().unwrap().to_owned()
}

mod progress;
mod wishes;
