//! Whatever the sizes and whatever goes wrong on the way: the digest of exactly the bytes, or none.

use lifeboat_engine::{Engine, Policy};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use crate::scripted::{Act, KEY, Store, bytes};

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Serve),
        2 => (0u64..400).prop_map(Act::Cut),
        2 => (0u64..400).prop_map(Act::End),
        1 => Just(Act::SlowDown),
        1 => Just(Act::Silent),
        1 => (0u64..400).prop_map(Act::Stall),
        1 => (1u64..40).prop_map(Act::Drip),
        1 => Just(Act::WrongRange),
        1 => Just(Act::WrongSize),
        1 => Just(Act::IgnoreRange),
        1 => Just(Act::More),
        1 => Just(Act::Denied),
        1 => Just(Act::Overwrite),
        1 => Just(Act::Delete),
    ]
}

/// Failures that pass by themselves.
fn passing(act: &Act) -> bool {
    !matches!(act, Act::Overwrite | Act::Delete | Act::Denied | Act::More | Act::IgnoreRange | Act::WrongSize)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_digest_is_of_exactly_the_bytes_or_there_is_none(
        size in 0usize..20_000,
        range_bytes in 1u64..6_000,
        piece_bytes in 1usize..3_000,
        connections in 1usize..9,
        script in prop::collection::vec(acts(), 0..40),
    ) {
        let range_bytes = range_bytes.max(size as u64 / 60);
        let body = bytes(size);
        let mut store = Store::new(body.clone(), script.clone());
        store.piece_bytes = piece_bytes;
        let object = store.listed(KEY);
        let policy = Policy { range_bytes, connections, hash_threads: 1, ..Policy::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let read = runtime.block_on(async {
            let engine = Engine::new(policy);
            let hour = std::time::Duration::from_secs(100_000);
            tokio::time::timeout(hour, engine.hash_object(&&store, &object, &|_| {})).await
        });
        let read = read.expect("a reading ends");
        if let Ok(Ok(digests)) = &read {
            prop_assert_eq!(digests.sha256, <[u8; 32]>::from(Sha256::digest(&body)));
            prop_assert_eq!(digests.size_bytes, size as u64);
        }
        // Seven failures that pass are fewer than any range gives up after.
        if script.iter().all(passing) && script.iter().filter(|a| **a != Act::Serve).count() <= 7 {
            prop_assert!(matches!(read, Ok(Ok(_))), "{:?}", read);
        }
    }
}
