//! Versions and delete markers: keys in order, each key's versions newest first, exactly one of them the latest.

use std::collections::BTreeSet;

use futures::StreamExt as _;

use super::{LIMIT, Place, Report, all, all_versions, created, got, outcome, written};
use crate::ports::Bucket;
use crate::ports::bucket::{ListedVersion, PutMode, PutOutcome, VersionContent, VersionMarker};

pub(super) async fn play(place: &impl Place, prefix: &str, report: &mut Report) {
    let p = |name: &str| format!("{prefix}versions/{name}/");
    report.case("versions are listed newest first, each with an id of its own", newest_first(place, &p("order"))).await;
    report.case("a deleted key is absent and may be created again", deleted(place, &p("deleted"))).await;
    report.case("deleting twice leaves two markers and hides nothing more", markers(place, &p("markers"))).await;
    report.case("a version that is removed for good brings back the one before", removed(place, &p("removed"))).await;
    report.case("more than a thousand versions and markers come in pages, each once", many(place, &p("many"))).await;
    report.case("pages of versions may end anywhere within a key", small_pages(place, &p("small"))).await;
}

fn ids(found: &[ListedVersion]) -> Vec<(&str, Option<&str>, bool)> {
    found.iter().map(|v| (v.key.as_str(), v.version_id.as_deref(), v.is_latest)).collect()
}

async fn newest_first(place: &impl Place, prefix: &str) {
    let (bucket, a, b) = (place.writer(), format!("{prefix}a"), format!("{prefix}b"));
    let (mut etag, mut versions) = (None, Vec::new());
    for n in 0..3 {
        let mode = etag.take().map_or(PutMode::Create, PutMode::Update);
        let (new, id) = written(&bucket, &a, format!("{n}").as_bytes(), mode).await;
        etag = Some(new);
        versions.insert(0, id);
    }
    let of_b = created(&bucket, &b, b"b").await.version_id;
    let (found, _) = all_versions(&bucket, prefix).await;
    if place.versioned() {
        let id = |n: usize| versions[n].as_deref();
        let expected = [(a.as_str(), id(0), true), (&a, id(1), false), (&a, id(2), false), (&b, of_b.as_deref(), true)];
        assert_eq!(ids(&found), expected);
        assert_eq!(versions.iter().collect::<BTreeSet<_>>().len(), 3, "each version has an id of its own");
    } else {
        assert_eq!(ids(&found), [(a.as_str(), None, true), (b.as_str(), None, true)]);
    }
    let current = found.iter().find(|v| v.key == a && v.is_latest).expect("one is the latest");
    let listed = bucket.list(prefix, None).await.expect("answered").entries.remove(0);
    assert_eq!(current.content, VersionContent::Object { size_bytes: 1, etag: etag.expect("written") });
    assert_eq!(current.last_modified, listed.last_modified, "in whole seconds, as everywhere");
}

async fn deleted(place: &impl Place, prefix: &str) {
    let (bucket, key) = (place.writer(), format!("{prefix}a"));
    let first = created(&bucket, &key, b"one").await;
    place.delete(&key).await;
    assert_eq!(bucket.get(&key, LIMIT).await.expect("answered"), None);
    assert_eq!(bucket.head(&key).await.expect("answered"), None);
    assert_eq!(all(&bucket, prefix).await.0, [], "it is not listed");
    let update = PutMode::Update(first.etag.clone());
    assert_eq!(outcome(&bucket, &key, b"two", update).await, PutOutcome::Lost, "there is nothing to update");
    let (before, _) = all_versions(&bucket, prefix).await;
    if place.versioned() {
        assert_eq!(before.len(), 2);
        assert_eq!((&before[0].content, before[0].is_latest), (&VersionContent::DeleteMarker, true));
        assert!(before[0].version_id.is_some() && before[0].version_id != first.version_id);
        assert!(!before[1].is_latest && matches!(before[1].content, VersionContent::Object { size_bytes: 3, .. }));
    } else {
        assert_eq!(before, []);
    }
    created(&bucket, &key, b"three").await;
    let (after, _) = all_versions(&bucket, prefix).await;
    assert_eq!(after.len(), before.len() + 1, "what was there before stays");
    assert!(after[0].is_latest && after[1..].iter().all(|v| !v.is_latest), "the new object is the latest");
    assert_eq!(got(&bucket, &key).await.body, b"three");
}

async fn markers(place: &impl Place, prefix: &str) {
    let (bucket, key, never) = (place.writer(), format!("{prefix}a"), format!("{prefix}never"));
    created(&bucket, &key, b"one").await;
    place.delete(&key).await;
    place.delete(&key).await;
    place.delete(&never).await;
    let (found, _) = all_versions(&bucket, prefix).await;
    if !place.versioned() {
        assert_eq!(found, []);
        return;
    }
    let of = |k: &str| found.iter().filter(|v| v.key == k).collect::<Vec<_>>();
    let is_marker = |v: &&&ListedVersion| v.content == VersionContent::DeleteMarker;
    let of_key = of(&key);
    assert_eq!((of_key.len(), of_key.iter().filter(is_marker).count()), (3, 2), "{found:?}");
    assert!(is_marker(&&of_key[0]) && of_key[0].is_latest && of_key[1..].iter().all(|v| !v.is_latest), "{found:?}");
    assert_eq!(of(&never).iter().filter(is_marker).count(), 1, "a marker needs no object beneath it: {found:?}");
}

async fn removed(place: &impl Place, prefix: &str) {
    if !place.versioned() {
        return;
    }
    let (bucket, key) = (place.writer(), format!("{prefix}a"));
    let first = created(&bucket, &key, b"one").await;
    let (etag, second) = written(&bucket, &key, b"two", PutMode::Update(first.etag.clone())).await;
    place.delete(&key).await;
    let marker = all_versions(&bucket, prefix).await.0[0].version_id.clone().expect("a marker has an id");
    place.delete_version(&key, &marker).await;
    assert_eq!(got(&bucket, &key).await.etag, etag, "without its marker the object is back");
    place.delete_version(&key, &second.expect("versions")).await;
    assert_eq!(got(&bucket, &key).await.body, b"one", "and without its newest version the one before");
    let (left, _) = all_versions(&bucket, prefix).await;
    assert_eq!(ids(&left), [(key.as_str(), first.version_id.as_deref(), true)]);
}

/// Five keys of 202 versions each, a marker in each.
async fn many(place: &impl Place, prefix: &str) {
    if !place.versioned() {
        return;
    }
    let keys: Vec<String> = (0..5).map(|n| format!("{prefix}{n}")).collect();
    let fill = async |key: &String| {
        for n in 0..202 {
            match n {
                100 => place.delete(key).await,
                n => place.overwrite(key, format!("{n}").into_bytes()).await,
            }
        }
    };
    let mut filling = futures::stream::iter(&keys).map(fill).buffer_unordered(5);
    while filling.next().await.is_some() {}
    let (found, pages) = all_versions(&place.writer(), prefix).await;
    assert!(pages >= 2, "a thousand at most in a page");
    assert_eq!(found.len(), 5 * 202);
    assert_eq!(ids(&found).into_iter().collect::<BTreeSet<_>>().len(), found.len(), "each once");
    assert!(found.is_sorted_by_key(|v| &v.key), "keys in order");
    assert_eq!(found.iter().filter(|v| v.content == VersionContent::DeleteMarker).count(), 5);
    let latest: Vec<&str> = found.iter().filter(|v| v.is_latest).map(|v| v.key.as_str()).collect();
    assert!(latest.iter().eq(&keys), "one latest a key: {latest:?}");
}

async fn small_pages(place: &impl Place, prefix: &str) {
    let (bucket, a, b) = (place.writer(), format!("{prefix}a"), format!("{prefix}b"));
    for (key, n) in [(&a, 3), (&b, 2)] {
        for n in 0..n {
            place.overwrite(key, vec![b'x'; n]).await;
        }
    }
    place.delete(&a).await;
    place.overwrite(&format!("{prefix}c"), vec![]).await;
    let (whole, _) = all_versions(&bucket, prefix).await;
    assert_eq!(whole.len(), if place.versioned() { 7 } else { 2 });
    for size in [1, 2, 3] {
        place.page_size(Some(size));
        let (found, pages) = all_versions(&bucket, prefix).await;
        place.page_size(None);
        assert_eq!(ids(&found), ids(&whole), "pages of {size}");
        assert!(pages >= whole.len() / size, "{pages} pages of {size}");
    }
    for (n, entry) in whole.iter().enumerate() {
        let marker = VersionMarker { key: entry.key.clone(), version_id: entry.version_id.clone() };
        let page = bucket.list_versions(prefix, Some(&marker)).await.expect("answered");
        assert_eq!(ids(&page.entries), ids(&whole[n + 1..]), "what follows entry {n}");
    }
}
