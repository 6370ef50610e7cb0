//! Asking a function to act: one file, created once, under the prefix of the function that owns the action.

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use lifeboat_domain::document::encode;
use lifeboat_domain::ids::Sha256Digest;
use lifeboat_domain::keys::Key;
use lifeboat_domain::runs::{Action, Request};
use lifeboat_workflows::ports::Bucket;
use lifeboat_workflows::ports::bucket::{PutMode, PutOutcome};
use lifeboat_workflows::store;

/// Writes the request; gives its key.
pub(crate) async fn ask(
    bucket: &impl Bucket,
    action: Action,
    by: &str,
    reason: &str,
    now: Timestamp,
) -> anyhow::Result<String> {
    if reason.trim().is_empty() {
        bail!("--reason is empty; whoever reads the record later needs it");
    }
    let function = action.function();
    let body = encode(&Request { by: by.to_owned(), reason: reason.to_owned(), action });
    // The same request in the same second is the same file: pressing return twice asks once.
    let digest = Sha256Digest::of(&body);
    let id = format!("{}-{}", now.strftime("%Y%m%dt%H%M%Sz"), &digest.as_str()[..12]);
    let key = Key::Request(function, id).to_string();
    let put = bucket.put(&key, body.clone(), PutMode::Create).await.with_context(|| format!("writing {key}"))?;
    if put == PutOutcome::Lost {
        let there = bucket.get(&key, store::DOCUMENT_BYTES_MAX).await.with_context(|| format!("reading {key}"))?;
        if there.is_none_or(|t| t.body != body) {
            bail!("{key} is there already with other content; ask again");
        }
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lifeboat_domain::document::decode;
    use lifeboat_domain::ids::BackupId;
    use lifeboat_workflows::twins::World;

    #[tokio::test]
    async fn a_request_lies_where_its_function_looks_and_asking_twice_asks_once() {
        let world = World::new();
        let now: Timestamp = "2026-11-20T03:00:00Z".parse().unwrap();
        let action = Action::Rollback { to: BackupId::parse("b_1").unwrap() };
        let key = ask(&world.bucket(), action.clone(), "ada", "bad import", now).await.unwrap();
        assert!(key.starts_with("requests/flip-manifest/"), "{key}");
        assert!(Key::parse(&key).is_some(), "{key}");
        let request: Request = decode(&key, &world.bucket().bytes(&key).unwrap()).unwrap();
        assert_eq!(request, Request { by: "ada".into(), reason: "bad import".into(), action: action.clone() });
        assert_eq!(ask(&world.bucket(), action, "ada", "bad import", now).await.unwrap(), key);
        assert_eq!(world.bucket().keys("requests/").len(), 1);
    }

    #[tokio::test]
    async fn a_request_without_a_reason_is_not_written() {
        let world = World::new();
        let now: Timestamp = "2026-11-20T03:00:00Z".parse().unwrap();
        assert!(ask(&world.bucket(), Action::Backup, "ada", "  ", now).await.is_err());
        assert!(world.bucket().keys("").is_empty());
    }
}
