//! Listings of current objects: every key once, in byte order, page by page.

use futures::StreamExt as _;

use super::{Place, Report, all, created};
use crate::ports::Bucket;
use crate::ports::bucket::{PutMode, PutOutcome};

/// More than S3 gives in one page.
const MANY: usize = 1003;

pub(super) async fn play(place: &impl Place, prefix: &str, report: &mut Report) {
    let p = |name: &str| format!("{prefix}listings/{name}/");
    report.case("a listing of more than a thousand keys comes in pages, each key once", many(place, &p("many"))).await;
    report.case("pages of two and of three give what one page gives", small_pages(place, &p("small"))).await;
    report.case("a listing starts after the key that it is told", starts_after(place, &p("after"))).await;
    report.case("a prefix may end within a name", prefixes(place, &p("prefix"))).await;
    report.case("a key may stand beneath another key", nested(place, &p("nested"))).await;
    report.case("deleted keys are not listed and make no page empty", deleted(place, &p("deleted"))).await;
}

/// Writes keys, sixteen at a time.
pub(super) async fn put_all(bucket: &impl Bucket, keys: &[String]) {
    let mut puts = futures::stream::iter(keys)
        .map(|key| bucket.put(key, key.as_bytes().to_vec(), PutMode::Create))
        .buffer_unordered(16);
    while let Some(put) = puts.next().await {
        assert!(matches!(put, Ok(PutOutcome::Written { .. })), "{put:?}");
    }
}

async fn keys_of(bucket: &impl Bucket, prefix: &str) -> (Vec<String>, usize) {
    let (found, pages) = all(bucket, prefix).await;
    (found.into_iter().map(|e| e.key).collect(), pages)
}

async fn many(place: &impl Place, prefix: &str) {
    let bucket = place.writer();
    let keys: Vec<String> = (0..MANY).map(|n| format!("{prefix}{n:05}")).collect();
    put_all(&bucket, &keys).await;
    let (found, pages) = all(&bucket, prefix).await;
    assert!(found.iter().map(|e| &e.key).eq(&keys), "every key once, in order");
    assert!(pages >= 2, "a thousand at most in a page");
    assert!(found.iter().all(|e| e.size_bytes == e.key.len() as u64 && e.etag.starts_with('"')));
}

async fn small_pages(place: &impl Place, prefix: &str) {
    let bucket = place.writer();
    let keys: Vec<String> = ["a", "a0", "a1/b", "a1/c", "b", "c-1", "c.1", "d"].map(|k| format!("{prefix}{k}")).into();
    put_all(&bucket, &keys).await;
    let mut sorted = keys.clone();
    sorted.sort();
    assert_eq!(keys_of(&bucket, prefix).await, (sorted.clone(), 1));
    for (size, pages) in [(2, 4), (3, 3)] {
        place.page_size(Some(size));
        let found = keys_of(&bucket, prefix).await;
        place.page_size(None);
        assert_eq!(found.0, sorted, "pages of {size}");
        // A store may say of a full last page that more follow, and then give nothing; or know that nothing does.
        assert!(found.1 == pages || found.1 == pages + 1, "{} pages of {size}", found.1);
    }
}

async fn starts_after(place: &impl Place, prefix: &str) {
    let bucket = place.writer();
    let keys: Vec<String> = ["a", "b", "c"].map(|k| format!("{prefix}{k}")).into();
    put_all(&bucket, &keys).await;
    for (after, expected) in [("a", &keys[1..]), ("a0", &keys[1..]), ("b", &keys[2..]), ("c", &[]), ("zzz", &[])] {
        let page = bucket.list(prefix, Some(&format!("{prefix}{after}"))).await.expect("answered");
        let found: Vec<String> = page.entries.into_iter().map(|e| e.key).collect();
        assert_eq!((found.as_slice(), page.more), (expected, false), "after {after}");
    }
    let page = bucket.list(prefix, Some("")).await.expect("answered");
    assert_eq!(page.entries.len(), 3, "after nothing");
    let page = bucket.list(prefix, Some("!")).await.expect("answered");
    assert_eq!(page.entries.len(), 3, "after a key before the prefix");
}

async fn prefixes(place: &impl Place, prefix: &str) {
    let bucket = place.writer();
    let keys: Vec<String> = ["abc", "abd", "b/c", "b/cd", "bb/c"].map(|k| format!("{prefix}{k}")).into();
    put_all(&bucket, &keys).await;
    for (below, expected) in
        [("", 5), ("a", 2), ("ab", 2), ("abc", 1), ("abcd", 0), ("b", 3), ("b/", 2), ("b/c", 2), ("c", 0)]
    {
        let (found, _) = keys_of(&bucket, &format!("{prefix}{below}")).await;
        assert_eq!(found.len(), expected, "below {below}: {found:?}");
    }
}

async fn nested(place: &impl Place, prefix: &str) {
    let bucket = place.writer();
    let keys: Vec<String> = ["a", "a/", "a/b", "a/b/c"].map(|k| format!("{prefix}{k}")).into();
    put_all(&bucket, &keys).await;
    assert_eq!(keys_of(&bucket, prefix).await.0, keys);
}

async fn deleted(place: &impl Place, prefix: &str) {
    let bucket = place.writer();
    for name in ["a", "b", "c", "d", "e"] {
        created(&bucket, &format!("{prefix}{name}"), b"x").await;
    }
    for name in ["a", "b", "c", "d"] {
        place.delete(&format!("{prefix}{name}")).await;
    }
    place.page_size(Some(2));
    let found = keys_of(&bucket, prefix).await;
    place.page_size(None);
    assert_eq!(found.0, [format!("{prefix}e")]);
    place.delete(&format!("{prefix}e")).await;
    assert_eq!(keys_of(&bucket, prefix).await, (vec![], 1), "nothing is left");
}
