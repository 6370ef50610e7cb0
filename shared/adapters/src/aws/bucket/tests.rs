use aws_sdk_s3::config::retry::RetryConfig;

use super::*;
use crate::aws::tests::{aws, retrying};
use crate::scripted::{Reply, Server};

const V: &str = "v1";

async fn bucket(server: &Server) -> S3Bucket {
    S3Bucket { marks: mark::Marks::of("me"), ..aws(server, RetryConfig::disabled()).bucket("b") }
}

/// What HEAD says of an object that this write left.
fn written_by(mark: &str, etag: &str) -> Reply {
    let headers = vec![
        ("ETag", etag.to_owned()),
        ("x-amz-version-id", V.to_owned()),
        ("x-amz-meta-lifeboat-write", mark.to_owned()),
    ];
    Reply::With(200, headers, vec![])
}

fn pinned() -> Pinned {
    Pinned { key: "k".into(), etag: "\"e\"".into(), version_id: Some(V.into()) }
}

#[tokio::test]
async fn an_ip_endpoint_is_asked_in_path_style_and_the_object_comes_with_its_quoted_etag_and_version() {
    let server = Server::replying([Reply::s3_object("\"e\"", V, b"hello")]).await;
    let stored = bucket(&server).await.get("runs/a b.json", 5).await.unwrap().unwrap();
    assert_eq!((stored.body.as_slice(), stored.etag.as_str()), (b"hello".as_slice(), "\"e\""));
    assert_eq!(stored.version_id.as_deref(), Some(V));
    assert_eq!(stored.last_modified, "2026-11-20T11:00:31Z".parse().unwrap());
    assert!(server.asked()[0].line.starts_with("GET /b/runs/a%20b.json"), "{:?}", server.asked());
}

#[tokio::test]
async fn only_no_such_key_is_absence() {
    let server = Server::replying([Reply::s3_error(404, "NoSuchKey")]).await;
    assert_eq!(bucket(&server).await.get("k", 9).await.unwrap(), None);
    for (status, code, retry) in [
        (403, "AccessDenied", Retry::No),
        (404, "NoSuchBucket", Retry::No),
        (503, "SlowDown", Retry::Throttled),
        (500, "InternalError", Retry::Yes),
    ] {
        let server = Server::replying([Reply::s3_error(status, code)]).await;
        let fault = bucket(&server).await.get("k", 9).await.unwrap_err();
        assert_eq!((fault.happened, fault.retry), (Happened::No, retry), "{code}");
        assert!(crate::logging::chain(&fault).contains(code), "{}", crate::logging::chain(&fault));
    }
}

#[tokio::test]
async fn an_object_over_the_limit_is_a_fault_that_never_retries() {
    let server = Server::replying([Reply::s3_object("\"e\"", V, b"hello")]).await;
    let fault = bucket(&server).await.get("k", 4).await.unwrap_err();
    assert_eq!(fault.retry, Retry::No);
}

#[tokio::test]
async fn a_body_cut_short_is_a_fault_not_a_shorter_object() {
    let server = Server::replying([Reply::Cut(200, 9, b"hello".to_vec())]).await;
    assert!(bucket(&server).await.get("k", 99).await.is_err());
}

#[tokio::test]
async fn a_create_carries_if_none_match_and_a_sha256_and_an_update_the_etag() {
    let written = || Reply::With(200, vec![("ETag", "\"n\"".into()), ("x-amz-version-id", "v2".into())], vec![]);
    let server = Server::replying([written(), written()]).await;
    let b = bucket(&server).await;
    let outcome = b.put("k.json", b"x".to_vec(), PutMode::Create).await.unwrap();
    assert_eq!(outcome, PutOutcome::Written { etag: "\"n\"".into(), version_id: Some("v2".into()) });
    b.put("k.json", b"x".to_vec(), PutMode::Update("\"o\"".into())).await.unwrap();
    let asked = server.asked();
    assert_eq!(asked[0].header("if-none-match"), Some("*"));
    assert_eq!(asked[0].header("if-match"), None);
    assert_eq!(asked[1].header("if-match"), Some("\"o\""));
    // SHA-256 of "x", in base64.
    let digest = "LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE=";
    assert_eq!(asked[0].header("x-amz-checksum-sha256"), Some(digest), "{:?}", asked[0]);
    assert_eq!(asked[0].header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn a_condition_that_failed_is_lost_unless_the_object_there_bears_this_writes_own_mark() {
    for (there, outcome) in [
        (written_by("me-0", "\"e\""), PutOutcome::Written { etag: "\"e\"".into(), version_id: Some(V.into()) }),
        (written_by("me-1", "\"e\""), PutOutcome::Lost),
        (written_by("somebody-0", "\"e\""), PutOutcome::Lost),
        // The very same bytes, written by somebody who leaves no mark.
        (Reply::s3_object("\"e\"", V, b""), PutOutcome::Lost),
        (Reply::new(404, ""), PutOutcome::Lost),
    ] {
        let server = Server::replying([Reply::s3_error(412, "PreconditionFailed"), there]).await;
        assert_eq!(bucket(&server).await.put("k", b"ours".to_vec(), PutMode::Create).await.unwrap(), outcome);
        assert_eq!(server.asked()[0].header("x-amz-meta-lifeboat-write"), Some("me-0"));
    }
}

#[tokio::test]
async fn a_write_whose_reply_was_lost_is_recognised_when_the_retry_meets_it() {
    let there = written_by("me-0", "\"e\"");
    let server = Server::replying([Reply::Lost, Reply::s3_error(412, "PreconditionFailed"), there]).await;
    let bucket = S3Bucket { marks: mark::Marks::of("me"), ..aws(&server, retrying()).bucket("b") };
    let outcome = bucket.put("k", b"ours".to_vec(), PutMode::Create).await.unwrap();
    assert!(matches!(outcome, PutOutcome::Written { .. }));
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn a_retry_that_meets_anothers_write_does_not_know_whether_its_own_was_before_it() {
    for there in [written_by("somebody-0", "\"e\""), Reply::new(404, "")] {
        let server = Server::replying([Reply::Lost, Reply::s3_error(412, "PreconditionFailed"), there]).await;
        let bucket = S3Bucket { marks: mark::Marks::of("me"), ..aws(&server, retrying()).bucket("b") };
        let fault = bucket.put("k", b"ours".to_vec(), PutMode::Create).await.unwrap_err();
        assert_eq!((fault.happened, fault.retry), (Happened::Maybe, Retry::Yes));
    }
}

#[tokio::test]
async fn a_read_back_that_is_refused_leaves_open_what_happened() {
    let server = Server::replying([Reply::s3_error(412, "PreconditionFailed"), Reply::new(403, "")]).await;
    let fault = bucket(&server).await.put("k", b"ours".to_vec(), PutMode::Create).await.unwrap_err();
    assert_eq!(fault.happened, Happened::Maybe);
}

#[tokio::test]
async fn an_update_of_a_key_that_is_gone_is_lost_but_a_missing_bucket_is_a_fault() {
    let server = Server::replying([Reply::s3_error(404, "NoSuchKey")]).await;
    let update = || PutMode::Update("\"e\"".into());
    assert_eq!(bucket(&server).await.put("k", vec![], update()).await.unwrap(), PutOutcome::Lost);
    let server = Server::replying([Reply::s3_error(404, "NoSuchBucket")]).await;
    let fault = bucket(&server).await.put("k", vec![], update()).await.unwrap_err();
    assert_eq!((fault.happened, fault.retry), (Happened::No, Retry::No));
}

#[tokio::test]
async fn a_conflict_is_tried_again_while_the_condition_holds_and_lost_when_it_does_not() {
    let conflict = || Reply::s3_error(409, "ConditionalRequestConflict");
    let ok = Reply::With(200, vec![("ETag", "\"n\"".into())], vec![]);
    let server = Server::replying([conflict(), written_by("somebody-0", "\"e\""), ok]).await;
    let outcome = bucket(&server).await.put("k", b"new".to_vec(), PutMode::Update("\"e\"".into())).await.unwrap();
    assert_eq!(outcome, PutOutcome::Written { etag: "\"n\"".into(), version_id: None });

    let server = Server::replying([conflict(), written_by("somebody-0", "\"z\"")]).await;
    let outcome = bucket(&server).await.put("k", b"new".to_vec(), PutMode::Update("\"e\"".into())).await.unwrap();
    assert_eq!(outcome, PutOutcome::Lost);

    let absent = || Reply::new(404, "");
    let server = Server::replying([conflict(), absent(), conflict(), absent(), conflict(), absent()]).await;
    let fault = bucket(&server).await.put("k", b"new".to_vec(), PutMode::Create).await.unwrap_err();
    assert_eq!((fault.happened, fault.retry), (Happened::No, Retry::Yes));
}

#[tokio::test]
async fn a_put_that_may_have_arrived_says_maybe_and_one_that_was_refused_says_no() {
    for (reply, happened, retry) in [
        (Reply::Lost, Happened::Maybe, Retry::Yes),
        (Reply::s3_error(500, "InternalError"), Happened::Maybe, Retry::Yes),
        (Reply::s3_error(503, "SlowDown"), Happened::No, Retry::Throttled),
        (Reply::s3_error(403, "AccessDenied"), Happened::No, Retry::No),
        (Reply::s3_error(400, "ExpiredToken"), Happened::No, Retry::Yes),
        (Reply::s3_error(409, "OperationAborted"), Happened::No, Retry::Yes),
    ] {
        let shown = format!("{reply:?}");
        let server = Server::replying([reply]).await;
        let fault = bucket(&server).await.put("k", b"x".to_vec(), PutMode::Create).await.unwrap_err();
        assert_eq!((fault.happened, fault.retry), (happened, retry), "{shown}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_a_timeout_that_may_have_happened() {
    let server = Server::replying([Reply::Silence]).await;
    let fault = bucket(&server).await.put("k", b"x".to_vec(), PutMode::Create).await.unwrap_err();
    assert_eq!((fault.happened, fault.retry), (Happened::Maybe, Retry::Yes));
}

#[tokio::test]
async fn a_head_of_nothing_is_confirmed_by_the_listing_which_knows_a_missing_bucket() {
    let empty = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
    let server = Server::replying([Reply::new(404, ""), Reply::new(200, empty)]).await;
    assert_eq!(bucket(&server).await.head("k").await.unwrap(), None);
    let server = Server::replying([Reply::new(404, ""), Reply::s3_error(404, "NoSuchBucket")]).await;
    assert!(bucket(&server).await.head("k").await.is_err());
    let server = Server::replying([Reply::new(403, "")]).await;
    assert!(bucket(&server).await.head("k").await.is_err());
}

#[tokio::test]
async fn a_listing_gives_quoted_etags_and_whole_seconds() {
    let page = "<ListBucketResult><IsTruncated>true</IsTruncated>\
        <Contents><Key>p/a</Key><LastModified>2026-11-20T11:00:31.987Z</LastModified><ETag>&quot;e1&quot;</ETag><Size>3</Size></Contents>\
        <Contents><Key>p/b</Key><LastModified>2026-11-20T11:00:31.000Z</LastModified><ETag>e2</ETag><Size>0</Size></Contents>\
        </ListBucketResult>";
    let server = Server::replying([Reply::new(200, page)]).await;
    let page = bucket(&server).await.list("p/", Some("p/0")).await.unwrap();
    assert!(page.more);
    let etags: Vec<&str> = page.entries.iter().map(|e| e.etag.as_str()).collect();
    assert_eq!(etags, ["\"e1\"", "\"e2\""]);
    assert_eq!(page.entries[0].last_modified, page.entries[1].last_modified);
    let line = &server.asked()[0].line;
    assert!(line.contains("prefix=p%2F") && line.contains("start-after=p%2F0"), "{line}");
}

#[tokio::test]
async fn a_page_of_versions_ends_with_the_entry_that_the_next_page_follows() {
    // One second, three versions of `a` with a delete marker on top, cut after v2: dates cannot tell the order.
    let entry = |kind: &str, key: &str, id: &str, latest: bool| {
        let size = if kind == "Version" { "<ETag>\"e\"</ETag><Size>1</Size>" } else { "" };
        format!(
            "<{kind}><Key>{key}</Key><VersionId>{id}</VersionId><IsLatest>{latest}</IsLatest>\
             <LastModified>2026-11-20T11:00:31.000Z</LastModified>{size}</{kind}>"
        )
    };
    let page = format!(
        "<ListVersionsResult><IsTruncated>true</IsTruncated><NextKeyMarker>a</NextKeyMarker>\
         <NextVersionIdMarker>v2</NextVersionIdMarker>{}{}{}{}</ListVersionsResult>",
        entry("Version", "a", "v2", false),
        entry("Version", "a", "v3", false),
        entry("DeleteMarker", "a", "d", true),
        entry("Version", "A", "null", true),
    );
    let empty = "<ListVersionsResult><IsTruncated>false</IsTruncated></ListVersionsResult>";
    let server = Server::replying([Reply::new(200, page), Reply::new(200, empty)]).await;
    let b = bucket(&server).await;
    let page = b.list_versions("", None).await.unwrap();
    let order: Vec<(&str, Option<&str>)> =
        page.entries.iter().map(|e| (e.key.as_str(), e.version_id.as_deref())).collect();
    assert_eq!(order, [("A", None), ("a", Some("d")), ("a", Some("v3")), ("a", Some("v2"))]);
    assert_eq!(page.entries[1].content, lifeboat_workflows::ports::bucket::VersionContent::DeleteMarker);
    let after = VersionMarker { key: "a".into(), version_id: Some("v2".into()) };
    assert!(!b.list_versions("", Some(&after)).await.unwrap().more);
    let line = &server.asked()[1].line;
    assert!(line.contains("key-marker=a") && line.contains("version-id-marker=v2"), "{line}");
}

#[tokio::test]
async fn a_page_that_has_nothing_but_says_more_is_a_fault() {
    let page = "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>";
    let server = Server::replying([Reply::new(200, page)]).await;
    assert!(bucket(&server).await.list("p/", None).await.is_err());
}

#[tokio::test]
async fn a_pinned_read_names_version_etag_and_range() {
    let server = Server::replying([Reply::With(206, vec![], b"lo".to_vec())]).await;
    let outcome = bucket(&server).await.read(&pinned(), 3, 2).await.unwrap();
    assert_eq!(outcome, ReadOutcome::Bytes(b"lo".to_vec()));
    let asked = &server.asked()[0];
    assert!(asked.line.contains("versionId=v1"), "{}", asked.line);
    assert_eq!(asked.header("if-match"), Some("\"e\""));
    assert_eq!(asked.header("range"), Some("bytes=3-4"));
}

#[tokio::test]
async fn what_is_not_the_pinned_bytes_is_told_apart() {
    for (reply, outcome) in [
        (Reply::s3_error(412, "PreconditionFailed"), ReadOutcome::Changed),
        (Reply::s3_error(404, "NoSuchKey"), ReadOutcome::Missing),
        (Reply::s3_error(404, "NoSuchVersion"), ReadOutcome::Missing),
        (Reply::s3_error(405, "MethodNotAllowed"), ReadOutcome::Missing),
        (Reply::s3_error(416, "InvalidRange"), ReadOutcome::WrongLength { received_bytes: 0 }),
        (Reply::With(206, vec![], b"l".to_vec()), ReadOutcome::WrongLength { received_bytes: 1 }),
        (Reply::With(200, vec![], b"hello".to_vec()), ReadOutcome::WrongLength { received_bytes: 5 }),
    ] {
        let server = Server::replying([reply]).await;
        assert_eq!(bucket(&server).await.read(&pinned(), 3, 2).await.unwrap(), outcome);
    }
    for reply in [Reply::s3_error(403, "AccessDenied"), Reply::s3_error(404, "NoSuchBucket"), Reply::Lost] {
        let server = Server::replying([reply]).await;
        assert!(bucket(&server).await.read(&pinned(), 3, 2).await.is_err());
    }
}

#[tokio::test]
async fn no_bytes_of_an_object_are_read_by_asking_whether_it_is_there() {
    let server = Server::replying([Reply::With(200, vec![("ETag", "\"e\"".into())], vec![])]).await;
    assert_eq!(bucket(&server).await.read(&pinned(), 0, 0).await.unwrap(), ReadOutcome::Bytes(vec![]));
    assert!(server.asked()[0].line.starts_with("HEAD /b/k"));
    let server = Server::replying([Reply::new(412, "")]).await;
    assert_eq!(bucket(&server).await.read(&pinned(), 0, 0).await.unwrap(), ReadOutcome::Changed);
}

const SHA256_OF_X: &str = "LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE=";

fn copied(checksum: &str) -> Reply {
    let body = format!("<CopyObjectResult><ETag>&quot;n&quot;</ETag>{checksum}</CopyObjectResult>");
    Reply::With(200, vec![("x-amz-version-id", "v2".into())], body.into_bytes())
}

#[tokio::test]
async fn a_copy_names_its_source_by_version_and_etag_and_answers_with_the_sha256_of_the_whole() {
    let checksum = format!("<ChecksumSHA256>{SHA256_OF_X}</ChecksumSHA256><ChecksumType>FULL_OBJECT</ChecksumType>");
    let composite = format!("<ChecksumSHA256>{SHA256_OF_X}</ChecksumSHA256><ChecksumType>COMPOSITE</ChecksumType>");
    let server = Server::replying([copied(&checksum), copied(&composite), copied("")]).await;
    let b = bucket(&server).await;
    let from = Pinned { key: "backups/b/n/A:b c/chunk-1".into(), ..pinned() };
    let sha256 = Some(Sha256Digest::of(b"x"));
    for expected in [sha256, None, None] {
        let outcome = b.copy(&from, 1, "healed/b/k").await.unwrap();
        assert_eq!(
            outcome,
            CopyOutcome::Copied { etag: "\"n\"".into(), version_id: Some("v2".into()), sha256: expected }
        );
    }
    let asked = &server.asked()[0];
    assert!(asked.line.starts_with("PUT /b/healed/b/k"), "{asked:?}");
    assert_eq!(asked.header("x-amz-copy-source"), Some("b/backups/b/n/A%3Ab%20c/chunk-1?versionId=v1"));
    assert_eq!(asked.header("x-amz-copy-source-if-match"), Some("\"e\""));
    assert_eq!(asked.header("x-amz-checksum-algorithm"), Some("SHA256"));
}

#[tokio::test]
async fn a_copy_whose_source_changed_or_is_gone_says_so_and_one_that_is_refused_is_a_fault() {
    for (status, code, expected) in [
        (412, "PreconditionFailed", CopyOutcome::Changed),
        (404, "NoSuchVersion", CopyOutcome::Missing),
        (404, "NoSuchKey", CopyOutcome::Missing),
    ] {
        let server = Server::replying([Reply::s3_error(status, code)]).await;
        assert_eq!(bucket(&server).await.copy(&pinned(), 1, "to").await.unwrap(), expected, "{code}");
    }
    let server = Server::replying([Reply::s3_error(403, "AccessDenied")]).await;
    assert_eq!(bucket(&server).await.copy(&pinned(), 1, "to").await.unwrap_err().retry, Retry::No);
}

#[tokio::test]
async fn a_copy_in_parts_is_completed_only_when_every_part_is_there_and_else_aborted() {
    let created = || {
        let body = b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>";
        Reply::With(200, vec![], body.to_vec())
    };
    let part = || Reply::With(200, vec![], b"<CopyPartResult><ETag>&quot;p&quot;</ETag></CopyPartResult>".to_vec());
    let whole = b"<CompleteMultipartUploadResult><ETag>&quot;n-2&quot;</ETag></CompleteMultipartUploadResult>";
    let server = Server::replying([created(), part(), part(), Reply::With(200, vec![], whole.to_vec())]).await;
    let outcome = bucket(&server).await.copy_in_parts(&pinned(), 7, 4, "to").await.unwrap();
    assert_eq!(outcome, CopyOutcome::Copied { etag: "\"n-2\"".into(), version_id: None, sha256: None });
    let ranges: Vec<_> =
        server.asked().iter().filter_map(|a| a.header("x-amz-copy-source-range").map(str::to_owned)).collect();
    assert_eq!(ranges, ["bytes=0-3", "bytes=4-6"]);

    let failing = [created(), part(), Reply::s3_error(412, "PreconditionFailed"), Reply::With(204, vec![], vec![])];
    let server = Server::replying(failing).await;
    assert_eq!(bucket(&server).await.copy_in_parts(&pinned(), 7, 4, "to").await.unwrap(), CopyOutcome::Changed);
    assert!(server.asked()[3].line.starts_with("DELETE /b/to"), "{:?}", server.asked());
}

#[tokio::test]
async fn the_checksum_that_s3_keeps_is_asked_for_by_version_and_counts_only_when_it_is_of_the_whole() {
    let keeps = |kind: &str| {
        let headers = vec![
            ("ETag", "\"e\"".to_owned()),
            ("x-amz-checksum-sha256", SHA256_OF_X.to_owned()),
            ("x-amz-checksum-type", kind.to_owned()),
        ];
        Reply::With(200, headers, vec![])
    };
    let server = Server::replying([keeps("FULL_OBJECT"), keeps("COMPOSITE"), Reply::With(404, vec![], vec![])]).await;
    let b = bucket(&server).await;
    assert_eq!(b.stored_sha256(&pinned()).await.unwrap(), Some(Sha256Digest::of(b"x")));
    assert_eq!(b.stored_sha256(&pinned()).await.unwrap(), None);
    assert_eq!(b.stored_sha256(&pinned()).await.unwrap(), None);
    let asked = &server.asked()[0];
    assert_eq!((asked.header("x-amz-checksum-mode"), asked.header("if-match")), (Some("ENABLED"), Some("\"e\"")));
    assert!(asked.line.contains("versionId=v1"), "{asked:?}");
}
