//! The twins keep the contracts that the local stack and the real thing keep.

use super::super::contract::twin::{TwinPlace, TwinYard};
use super::super::contract::{self, Known, Report};
use super::super::*;

#[tokio::test]
async fn the_bucket_twin_keeps_the_contract_with_and_without_versions() {
    for versioned in [true, false] {
        let world = World::new();
        world.set(|s| s.versioned = versioned);
        let kind = if versioned { "versioned" } else { "unversioned" };
        let mut report = Report::new(format!("bucket twin, {kind}"), &[]);
        contract::bucket::play(&TwinPlace::new(world), "contract/", &mut report).await;
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
    contract::bucket::play(&TwinPlace::new(world), "contract/", &mut report).await;
    report.assert_kept();
}

#[tokio::test]
async fn the_twins_of_group_hosts_and_address_keep_the_contract() {
    let mut report = Report::new("twins of group, hosts and address", &[]);
    contract::cluster::play(&TwinYard(World::new()), &mut report).await;
    report.say();
    report.assert_kept();
}
