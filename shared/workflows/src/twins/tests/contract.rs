//! The twins keep the contracts that the local stack and the real thing keep.

use super::super::contract::bucket::{ATTEMPTS, Place, Trouble};
use super::super::contract::{self, Known, Report};
use super::super::*;

struct TwinPlace(World, bool);

impl Place for TwinPlace {
    type Bucket = BucketTwin;

    fn writer(&self) -> BucketTwin {
        self.0.bucket()
    }
    fn versioned(&self) -> bool {
        self.1
    }
    fn page_size(&self, entries: Option<usize>) {
        self.0.set(|s| s.page_size = entries.unwrap_or(1000));
    }
    fn can_trouble(&self) -> Result<(), String> {
        Ok(())
    }
    async fn troubled(&self, trouble: Trouble) -> BucketTwin {
        let bucket = self.0.bucket();
        match trouble {
            // What the adapter's own retries absorb, a workflow never sees.
            Trouble::ReplyLost { times } if times < ATTEMPTS => {}
            Trouble::ReplyLost { .. } => self.0.fail_next(Call::Put, "", Failure::ReplyLost),
            Trouble::Overtaken { key, by } => drop(bucket.put_raw(&key, by)),
            Trouble::WrittenOver { key, by } => bucket.write_over_next_put(&key, by),
            Trouble::Damaged => self.0.fail_next(Call::Put, "", Failure::Denied),
        }
        bucket
    }
    async fn overwrite(&self, key: &str, body: Vec<u8>) {
        self.0.bucket().put_raw(key, body);
    }
    async fn upload(&self, key: &str, parts: Vec<Vec<u8>>) -> String {
        self.0.bucket().put_parts(key, &parts)
    }
    async fn delete(&self, key: &str) {
        self.0.bucket().delete(key);
    }
    async fn delete_version(&self, key: &str, version_id: &str) {
        self.0.bucket().delete_version(key, version_id);
    }
    fn can_tell(&self) -> Result<(), String> {
        Ok(())
    }
    async fn told(&self, prefix: &str, _: &str) -> Vec<String> {
        let keys = self.0.events().into_iter().filter_map(|e| match e {
            Event::ObjectCreated { key, .. } if key.starts_with(prefix) => Some(key),
            Event::ObjectCreated { .. } | Event::LifecycleAction { .. } => None,
        });
        keys.collect()
    }
}

#[tokio::test]
async fn the_bucket_twin_keeps_the_contract_with_and_without_versions() {
    for versioned in [true, false] {
        let world = World::new();
        world.set(|s| s.versioned = versioned);
        let kind = if versioned { "versioned" } else { "unversioned" };
        let mut report = Report::new(format!("bucket twin, {kind}"), &[]);
        contract::bucket::play(&TwinPlace(world, versioned), "contract/", &mut report).await;
        report.say();
        report.assert_kept();
    }
}

/// A twin that only compares bytes is kinder, and the contract says so: it is not hollow.
#[tokio::test]
async fn a_twin_for_which_equal_bytes_are_its_own_write_does_not_keep_the_contract() {
    const LISTED: &[Known] = &[
        Known { case: "of sixteen creates of the same bytes one is written", reason: "it compares bytes" },
        Known { case: "a condition that does not hold writes nothing", reason: "it compares bytes" },
        Known {
            case: "a create that never arrived and was overtaken by the same bytes is not called its own",
            reason: "it compares bytes",
        },
        Known {
            case: "a create whose replies are all lost may have happened, and a repetition is lost",
            reason: "it compares bytes",
        },
        Known {
            case: "an update whose replies are all lost may have happened, and a repetition is lost",
            reason: "it compares bytes",
        },
    ];
    let world = World::new();
    world.set(|s| s.identical_put_counts_as_written = true);
    let mut report = Report::new("bucket twin that compares bytes", LISTED);
    contract::bucket::play(&TwinPlace(world, true), "contract/", &mut report).await;
    report.assert_kept();
}
