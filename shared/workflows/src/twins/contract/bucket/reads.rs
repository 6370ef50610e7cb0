//! Pinned reads: exactly the range of exactly that object, or what is not so.

use super::{Place, Report, all_versions, created, got, read};
use crate::ports::bucket::{Pinned, ReadOutcome};

pub(super) async fn play(place: &impl Place, prefix: &str, report: &mut Report) {
    let p = |name: &str| format!("{prefix}reads/{name}");
    report.case("a range is exactly the bytes asked for", ranges(place, &p("ranges"))).await;
    report.case("a range beyond the end is a wrong length, never fewer bytes", beyond(place, &p("beyond"))).await;
    report.case("no bytes are read as none, of an empty object too", nothing(place, &p("nothing/"))).await;
    report
        .case("an overwrite between two ranges is noticed, unless the version is pinned", between(place, &p("between")))
        .await;
    report.case("equal bytes written again are the same object to an ETag", same_bytes(place, &p("same"))).await;
    report.case("another version's ETag fits no version", crossed(place, &p("crossed"))).await;
    report.case("a deleted object is missing, its version is not", deleted(place, &p("deleted/"))).await;
    report.case("no key, no version and no marker are missing, whatever their ETag", missing(place, &p("no"))).await;
    report
        .case("an upload in parts is read across its parts and has an ETag of parts", parts(place, &p("parts")))
        .await;
}

fn bytes(text: &str) -> ReadOutcome {
    ReadOutcome::Bytes(text.as_bytes().to_vec())
}

fn unversioned(pinned: &Pinned) -> Pinned {
    Pinned { version_id: None, ..pinned.clone() }
}

async fn ranges(place: &impl Place, key: &str) {
    let bucket = place.writer();
    let pinned = created(&bucket, key, b"0123456789").await;
    for object in [&pinned, &unversioned(&pinned)] {
        for (offset, length, expected) in [(0, 10, "0123456789"), (0, 1, "0"), (3, 4, "3456"), (9, 1, "9")] {
            assert_eq!(read(&bucket, object, offset, length).await, bytes(expected), "{offset}+{length}");
        }
    }
}

async fn beyond(place: &impl Place, key: &str) {
    let bucket = place.writer();
    let pinned = created(&bucket, key, b"0123456789").await;
    for object in [&pinned, &unversioned(&pinned)] {
        for (offset, length, received_bytes) in [(0, 11, 10), (8, 4, 2), (9, 2, 1), (10, 1, 0), (1 << 40, 1, 0)] {
            let expected = ReadOutcome::WrongLength { received_bytes };
            assert_eq!(read(&bucket, object, offset, length).await, expected, "{offset}+{length}");
        }
    }
}

async fn nothing(place: &impl Place, prefix: &str) {
    let (bucket, key) = (place.writer(), format!("{prefix}empty"));
    let empty = created(&bucket, &key, b"").await;
    let stored = got(&bucket, &key).await;
    assert_eq!((stored.body.len(), &stored.etag), (0, &empty.etag));
    assert_eq!(empty.etag, crate::twins::etag_of(b""), "the MD5 of nothing");
    let full = created(&bucket, &format!("{prefix}full"), b"x").await;
    for object in [&empty, &full, &unversioned(&empty), &unversioned(&full)] {
        assert_eq!(read(&bucket, object, 0, 0).await, bytes(""));
    }
    assert_eq!(read(&bucket, &empty, 0, 1).await, ReadOutcome::WrongLength { received_bytes: 0 });
    for other in
        [Pinned { etag: full.etag.clone(), ..empty.clone() }, Pinned { etag: full.etag, ..unversioned(&empty) }]
    {
        assert_eq!(read(&bucket, &other, 0, 0).await, ReadOutcome::Changed);
    }
    let gone = Pinned { key: format!("{prefix}gone"), ..unversioned(&empty) };
    assert_eq!(read(&bucket, &gone, 0, 0).await, ReadOutcome::Missing);
}

async fn between(place: &impl Place, key: &str) {
    let bucket = place.writer();
    let pinned = created(&bucket, key, b"0123456789").await;
    let current = unversioned(&pinned);
    assert_eq!(read(&bucket, &current, 0, 5).await, bytes("01234"));
    place.overwrite(key, b"ABCDEFGHIJ".to_vec()).await;
    assert_eq!(read(&bucket, &current, 5, 5).await, ReadOutcome::Changed);
    let expected = if place.versioned() { bytes("56789") } else { ReadOutcome::Changed };
    assert_eq!(read(&bucket, &pinned, 5, 5).await, expected);
}

async fn same_bytes(place: &impl Place, key: &str) {
    let bucket = place.writer();
    let pinned = created(&bucket, key, b"0123456789").await;
    place.overwrite(key, b"0123456789".to_vec()).await;
    assert_eq!(read(&bucket, &unversioned(&pinned), 5, 5).await, bytes("56789"));
}

async fn crossed(place: &impl Place, key: &str) {
    let bucket = place.writer();
    let old = created(&bucket, key, b"old").await;
    place.overwrite(key, b"new".to_vec()).await;
    let new = got(&bucket, key).await;
    let crossed = Pinned { etag: new.etag, ..old.clone() };
    let expected = if place.versioned() { ReadOutcome::Changed } else { bytes("new") };
    assert_eq!(read(&bucket, &crossed, 0, 3).await, expected);
    let crossed = Pinned { version_id: new.version_id, ..old };
    assert_eq!(read(&bucket, &crossed, 0, 3).await, ReadOutcome::Changed);
}

async fn deleted(place: &impl Place, prefix: &str) {
    let (bucket, key) = (place.writer(), format!("{prefix}a"));
    let pinned = created(&bucket, &key, b"one").await;
    place.delete(&key).await;
    assert_eq!(read(&bucket, &unversioned(&pinned), 0, 3).await, ReadOutcome::Missing);
    let expected = if place.versioned() { bytes("one") } else { ReadOutcome::Missing };
    assert_eq!(read(&bucket, &pinned, 0, 3).await, expected);
    if place.versioned() {
        let marker = all_versions(&bucket, prefix).await.0.remove(0);
        let marker = Pinned { version_id: marker.version_id, ..pinned.clone() };
        assert_eq!(read(&bucket, &marker, 0, 3).await, ReadOutcome::Missing, "a marker is no object");
        assert_eq!(read(&bucket, &marker, 0, 0).await, ReadOutcome::Missing, "nor for no bytes");
        place.delete_version(&key, &pinned.version_id.clone().expect("versions")).await;
        assert_eq!(read(&bucket, &pinned, 0, 3).await, ReadOutcome::Missing, "a version removed for good");
    }
}

async fn missing(place: &impl Place, key: &str) {
    let bucket = place.writer();
    let there = created(&bucket, &format!("{key}-other"), b"x").await;
    let no_key = Pinned { key: format!("{key}-key"), etag: there.etag.clone(), version_id: None };
    assert_eq!(read(&bucket, &no_key, 0, 1).await, ReadOutcome::Missing);
    if place.versioned() {
        let second = created(&bucket, &format!("{key}-second"), b"x").await;
        // A well-formed version id, but of another key.
        let no_version = Pinned { version_id: second.version_id, ..there };
        assert_eq!(read(&bucket, &no_version, 0, 1).await, ReadOutcome::Missing);
    }
}

async fn parts(place: &impl Place, key: &str) {
    const PART: usize = 5 << 20;
    let bucket = place.writer();
    let etag = place.upload(key, vec![vec![b'a'; PART], vec![b'b'; PART], vec![b'c'; 7]]).await;
    assert!(etag.ends_with("-3\""), "an ETag of three parts: {etag}");
    let (found, _) = all_versions(&bucket, key).await;
    let pinned = Pinned { key: key.to_owned(), etag: etag.clone(), version_id: found[0].version_id.clone() };
    let size_bytes = 2 * PART as u64 + 7;
    let head = crate::ports::Bucket::head(&bucket, key).await.expect("answered").expect("there");
    assert_eq!((head.size_bytes, &head.etag), (size_bytes, &etag));
    assert_eq!(read(&bucket, &pinned, PART as u64 - 2, 4).await, bytes("aabb"));
    assert_eq!(read(&bucket, &pinned, size_bytes - 8, 8).await, bytes("bccccccc"));
    let ReadOutcome::Bytes(whole) = read(&bucket, &pinned, 0, size_bytes).await else { panic!("all of it") };
    assert_eq!((whole.len() as u64, whole[0], whole[PART], whole[2 * PART]), (size_bytes, b'a', b'b', b'c'));
    let plain = Pinned { etag: crate::twins::etag_of(&whole), ..pinned };
    assert_eq!(read(&bucket, &plain, 0, 1).await, ReadOutcome::Changed, "the MD5 of the whole is not its ETag");
}
