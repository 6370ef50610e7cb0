//! Names: every character that a key may have comes back as it was, everywhere a key appears.

use super::{LIMIT, Place, Report, all, all_versions, created, read};
use crate::ports::Bucket;
use crate::ports::bucket::{PutMode, ReadOutcome};
use crate::ports::fault::{Happened, Retry};

/// Names with what URLs, XML, SigV4 and shells take for something else.
const AWKWARD: &[&str] = &[
    "a b",
    "a+b",
    "a%b",
    "a%20b",
    "a%2Fb",
    "a%252Fb",
    "a&b",
    "a&amp;b",
    "a<b>",
    "a\"b\"",
    "a'b'",
    "a?b",
    "a?versionId=x",
    "a#b",
    "a=b",
    "a:b",
    "a;b",
    "a,b",
    "a@b",
    "a!b",
    "a$b",
    "a*b",
    "a(b)",
    "a[b]",
    "a{b}",
    "a|b",
    "a^b",
    "a`b",
    "a~b",
    "a\\b",
    "a b ",
    "ä",
    "a\u{308}",
    "日本語",
    "Ω",
    "🜚",
    "a\u{a0}b",
    "\u{feff}a",
    "_-.",
    "...",
    "a..b",
    ".hidden",
    "UPPER",
    "upper",
    "%",
    "+",
    "a/",
    "a/b/",
];

pub(super) async fn play(place: &impl Place, prefix: &str, report: &mut Report) {
    let p = |name: &str| format!("{prefix}keys/{name}/");
    report.case("awkward names are written, read, headed and listed as they are", awkward(place, &p("awkward"))).await;
    report.case("every printable ASCII character may be in a name", ascii(place, &p("ascii"))).await;
    report.case("names are listed in the order of their UTF-8 bytes", byte_order(place, &p("order"))).await;
    report.case("a listing goes on after any name", pages(place, &p("pages"))).await;
    report.case("a name may have 1,024 bytes", longest(place, &p("long"))).await;
    report.case("a name of 1,025 bytes is refused", too_long(place, &p("too-long"))).await;
    report.case("slashes in a row are names of their own", slashes(place, &p("slashes"))).await;
}

async fn hold(place: &impl Place, prefix: &str, names: &[String]) {
    let bucket = place.writer();
    for name in names {
        let key = format!("{prefix}{name}");
        let pinned = created(&bucket, &key, name.as_bytes()).await;
        let stored = bucket.get(&key, LIMIT).await.expect("answered").unwrap_or_else(|| panic!("{key:?} is there"));
        assert_eq!(stored.body, name.as_bytes(), "{key:?}");
        let head = bucket.head(&key).await.expect("answered").unwrap_or_else(|| panic!("{key:?} is there"));
        assert_eq!((head.key, head.etag), (key.clone(), pinned.etag.clone()));
        let first = read(&bucket, &pinned, 0, 1).await;
        assert_eq!(first, ReadOutcome::Bytes(name.as_bytes()[..1].to_vec()), "{key:?}");
    }
    let mut expected: Vec<String> = names.iter().map(|name| format!("{prefix}{name}")).collect();
    expected.sort();
    let found: Vec<String> = all(&bucket, prefix).await.0.into_iter().map(|e| e.key).collect();
    assert_eq!(found, expected);
    let found: Vec<String> = all_versions(&bucket, prefix).await.0.into_iter().map(|e| e.key).collect();
    assert_eq!(found, expected, "of versions");
}

async fn awkward(place: &impl Place, prefix: &str) {
    // A name that another ends with a slash is a directory to a store of files; they are apart here.
    let names: Vec<String> = AWKWARD.iter().enumerate().map(|(n, name)| format!("{n}-{name}")).collect();
    hold(place, prefix, &names).await;
}

async fn ascii(place: &impl Place, prefix: &str) {
    let names: Vec<String> = (0x20..0x7f_u8).filter(|c| *c != b'/').map(|c| format!("x{}y", char::from(c))).collect();
    hold(place, prefix, &names).await;
}

async fn byte_order(place: &impl Place, prefix: &str) {
    // U+FF5E is before U+1F600 in UTF-8 and after it in UTF-16.
    let names = ["B", "a", "b", "é", "\u{ff5e}", "\u{1f600}", "_", "-", "0", "~"].map(str::to_owned);
    hold(place, prefix, &names).await;
}

async fn pages(place: &impl Place, prefix: &str) {
    let bucket = place.writer();
    let mut expected: Vec<String> =
        ["a b", "a&b", "a%2Fb", "a+b", "ä", "🜚", "z"].iter().map(|name| format!("{prefix}{name}")).collect();
    expected.sort();
    super::listings::put_all(&bucket, &expected).await;
    place.page_size(Some(1));
    let (found, versions) = (all(&bucket, prefix).await.0, all_versions(&bucket, prefix).await.0);
    place.page_size(None);
    assert!(found.iter().map(|e| &e.key).eq(&expected), "{found:?}");
    assert!(versions.iter().map(|e| &e.key).eq(&expected), "{versions:?}");
}

async fn longest(place: &impl Place, prefix: &str) {
    let part = "x".repeat(200);
    let mut name = format!("{part}/{part}/{part}/{part}/");
    name.push_str(&"y".repeat(1024 - prefix.len() - name.len()));
    hold(place, prefix, &[name]).await;
}

async fn too_long(place: &impl Place, prefix: &str) {
    let key = format!("{prefix}{}", "x".repeat(1025 - prefix.len()));
    let fault = place.writer().put(&key, vec![], PutMode::Create).await.expect_err("it is too long");
    assert_eq!((fault.happened, fault.retry), (Happened::No, Retry::No), "{fault:?}");
}

async fn slashes(place: &impl Place, prefix: &str) {
    hold(place, prefix, &["a//b", "a/b", "/a", "//a"].map(str::to_owned)).await;
}
