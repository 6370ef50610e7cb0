//! `lifeboat status`: the verdict first, then what it rests on.

use std::fmt::Write as _;

use jiff::Timestamp;
use lifeboat_domain::keys::{Function, Key};
use lifeboat_domain::ownership::Ownership;
use lifeboat_domain::pointer::Pointer;
use lifeboat_domain::restore::run::RestoreRun;
use lifeboat_domain::runs::{CloseOutcome, CreateRun};
use lifeboat_workflows::ports::Bucket;
use lifeboat_workflows::store;
use serde::Serialize;

/// What is protected, and what is under way.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    pub(crate) verdict: Verdict,
    /// Everything indexed before this would come back.
    data_as_of: Option<Timestamp>,
    age_minutes: Option<i64>,
    objective_minutes: i64,
    backup_id: Option<String>,
    sequence: Option<u64>,
    generation: Option<u64>,
    owner: Option<String>,
    /// The backup that is being taken, and how far it is.
    backing_up: Option<String>,
    /// How the newest closed try ended, when it was not published.
    last_try: Option<String>,
    /// The instance that is being brought up, and how far it is.
    restoring: Option<String>,
    flips_stopped: Option<String>,
}

/// The state in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Verdict {
    Protected,
    Stale,
    Held,
    Recovering,
    Unprotected,
}

impl Verdict {
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Protected => 0,
            Self::Stale => 10,
            Self::Held => 11,
            Self::Recovering => 12,
            Self::Unprotected => 13,
        }
    }
}

/// Reads a handful of keys; a document that cannot be understood is an error, never "nothing".
pub(crate) async fn read(bucket: &impl Bucket, now: Timestamp, objective_minutes: i64) -> anyhow::Result<Status> {
    let pointer = store::read::<Pointer>(bucket, &Key::Pointer).await?.map(|v| v.value);
    let ownership = store::read::<Ownership>(bucket, &Key::Ownership).await?.map(|v| v.value);
    let create = store::read::<CreateRun>(bucket, &Key::CurrentRun(Function::CreateBackup)).await?.map(|v| v.value);
    let restore = store::read::<RestoreRun>(bucket, &Key::CurrentRun(Function::DriveRestore)).await?.map(|v| v.value);
    let age_minutes = pointer.as_ref().map(|p| now.duration_since(p.data_as_of).as_mins());
    let restoring = restore.and_then(|r| r.open).map(|o| format!("{} ({:?})", o.instance, o.phase).to_lowercase());
    let last = create.as_ref().and_then(|c| c.last.as_ref());
    let held = last.is_some_and(|l| l.outcome == CloseOutcome::Held);
    let flips_stopped = pointer.as_ref().and_then(|p| p.flips_stopped.as_ref());
    let flips_stopped = flips_stopped.map(|s| format!("by {}: {}", s.by, s.reason));
    let verdict = match (age_minutes, &restoring) {
        (_, Some(_)) => Verdict::Recovering,
        (None, None) => Verdict::Unprotected,
        _ if held || flips_stopped.is_some() => Verdict::Held,
        (Some(age), None) if age > objective_minutes => Verdict::Stale,
        (Some(_), None) => Verdict::Protected,
    };
    Ok(Status {
        verdict,
        data_as_of: pointer.as_ref().map(|p| p.data_as_of),
        age_minutes,
        objective_minutes,
        backup_id: pointer.as_ref().map(|p| p.backup_id.to_string()),
        sequence: pointer.as_ref().map(|p| p.sequence.0),
        generation: ownership.as_ref().map(|o| o.generation.0),
        owner: ownership.map(|o| o.owner.to_string()),
        backing_up: create.as_ref().and_then(|c| c.open.as_ref()).map(|o| {
            let id = o.named.as_ref().map_or_else(|| "not named yet".to_owned(), |n| n.backup_id.to_string());
            format!("{id} ({:?})", o.phase).to_lowercase()
        }),
        last_try: last
            .filter(|l| l.outcome != CloseOutcome::Published)
            .map(|l| format!("{:?}: {}", l.outcome, l.reason)),
        restoring,
        flips_stopped,
    })
}

impl Status {
    /// The same for people.
    pub(crate) fn text(&self) -> String {
        let verdict =
            serde_json::to_value(self.verdict).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
        let mut text = match (self.data_as_of, self.age_minutes) {
            (Some(at), Some(age)) => {
                format!("{verdict}  data as of {at} ({age} min ago, objective {} min)\n", self.objective_minutes)
            }
            _ => format!("{verdict}  nothing was ever published\n"),
        };
        let lines = [
            (
                "backup",
                self.backup_id.as_ref().map(|id| format!("{id}, pointer sequence {}", self.sequence.unwrap_or(0))),
            ),
            ("owner", self.owner.as_ref().map(|o| format!("{o}, generation {}", self.generation.unwrap_or(0)))),
            ("backing up", self.backing_up.clone()),
            ("last try", self.last_try.clone()),
            ("restoring", self.restoring.clone()),
            ("flips stopped", self.flips_stopped.clone()),
        ];
        for (name, value) in lines {
            if let Some(value) = value {
                let _ = writeln!(text, "  {name:<14}{value}");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lifeboat_domain::document::encode;
    use lifeboat_domain::ids::InstanceId;
    use lifeboat_domain::restore::run::OpenRestore;
    use lifeboat_workflows::twins::World;

    fn now() -> Timestamp {
        "2026-11-20T03:00:00Z".parse().unwrap()
    }

    #[tokio::test]
    async fn an_empty_bucket_is_unprotected_and_says_so_with_its_own_exit_code() {
        let status = read(&World::new().bucket(), now(), 60).await.unwrap();
        assert_eq!((status.verdict, status.verdict.exit_code()), (Verdict::Unprotected, 13));
        assert_eq!(status.text(), "UNPROTECTED  nothing was ever published\n");
    }

    #[tokio::test]
    async fn a_pointer_that_cannot_be_understood_is_an_error_and_not_unprotected() {
        let world = World::new();
        world.bucket().put_raw(&Key::Pointer.to_string(), b"{}".to_vec());
        let error = read(&world.bucket(), now(), 60).await.unwrap_err();
        assert!(format!("{error:#}").contains("latest_weaviate_backup.manifest.json"), "{error:#}");
    }

    #[tokio::test]
    async fn a_restore_under_way_comes_before_everything_else() {
        let world = World::new();
        let open = OpenRestore::new(InstanceId::parse("i-1").unwrap(), None, now());
        let run = RestoreRun { open: Some(open), ..RestoreRun::default() };
        world.bucket().put_raw(&Key::CurrentRun(Function::DriveRestore).to_string(), encode(&run));
        let status = read(&world.bucket(), now(), 60).await.unwrap();
        assert_eq!(status.verdict, Verdict::Recovering);
        assert!(status.text().contains("i-1 (choosing)"), "{}", status.text());
    }
}
