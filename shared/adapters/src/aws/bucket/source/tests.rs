use std::time::Duration;

use aws_sdk_s3::config::retry::RetryConfig;
use lifeboat_engine::{Digests, Engine, EtagIs, Finding, HeldTo, Object, Policy, Retries, Timeouts, Unanswered};

use super::*;
use crate::aws::tests::aws;
use crate::scripted::{Reply, Server};

/// SHA-256 of "hello world".
const SHA256: &str = "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9";
/// Its CRC64NVME, in base64 as S3 has it.
const CRC64: &str = "jSnVw/bqjr4=";

fn pinned() -> Pinned {
    Pinned { key: "k".into(), etag: "\"e\"".into(), version_id: Some("v1".into()) }
}

async fn bucket(replies: impl IntoIterator<Item = Reply>) -> (S3Bucket, Server) {
    let server = Server::replying(replies).await;
    (aws(&server, RetryConfig::disabled()).bucket("b"), server)
}

fn hello(headers: &[(&'static str, &str)]) -> Reply {
    let own = headers.iter().map(|(name, value)| (*name, (*value).to_owned()));
    Reply::With(200, own.chain([("ETag", "\"e\"".to_owned())]).collect(), b"hello world".to_vec())
}

fn part(range: &str, body: &[u8]) -> Reply {
    Reply::With(206, vec![("Content-Range", range.to_owned()), ("ETag", "\"e\"".to_owned())], body.to_vec())
}

/// By the engine, of 11 bytes that one request may bring.
async fn read(bucket: &S3Bucket) -> Result<Result<Digests, Finding>, Unanswered> {
    let object = Object { pinned: pinned(), size_bytes: 11, etag_is: EtagIs::Opaque };
    let policy = Policy {
        // A machine that is slow only asks once more.
        timeouts: Timeouts {
            head: Duration::from_millis(400),
            idle: Duration::from_millis(400),
            ..Timeouts::default()
        },
        retries: Retries { pause: Duration::from_millis(1), pause_max: Duration::from_millis(2), ..Retries::default() },
        ..Policy::default()
    };
    Engine::new(policy).hash_object(bucket, &object, &|_| {}).await
}

fn hex(digests: &Digests) -> String {
    lifeboat_domain::ids::hex(&digests.sha256)
}

#[tokio::test]
async fn a_whole_object_comes_by_one_pinned_request_that_asks_for_its_checksum_and_is_held_to_it() {
    let (bucket, server) =
        bucket([hello(&[("x-amz-checksum-crc64nvme", CRC64), ("x-amz-checksum-type", "FULL_OBJECT")])]).await;
    let digests = read(&bucket).await.unwrap().unwrap();
    assert_eq!((hex(&digests).as_str(), digests.held_to), (SHA256, HeldTo::Checksum(Algorithm::Crc64Nvme)));
    let asked = &server.asked()[0];
    assert!(asked.line.starts_with("GET /b/k?") && asked.line.contains("versionId=v1"), "{asked:?}");
    assert_eq!(asked.header("if-match"), Some("\"e\""));
    assert_eq!(asked.header("x-amz-checksum-mode"), Some("ENABLED"));
    assert_eq!(asked.header("range"), None);
}

#[tokio::test]
async fn a_checksum_of_parts_is_nothing_to_hold_bytes_to_and_one_that_differs_is_a_finding() {
    let (of_parts, _server) =
        bucket([hello(&[("x-amz-checksum-crc32", "DUoRhQ==-2"), ("x-amz-checksum-type", "COMPOSITE")])]).await;
    assert_eq!(read(&of_parts).await.unwrap().unwrap().held_to, HeldTo::Nothing);
    let other = || hello(&[("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-checksum-type", "FULL_OBJECT")]);
    let (differs, _server) = bucket([other(), other()]).await;
    let finding = read(&differs).await.unwrap().unwrap_err();
    assert!(matches!(finding, Finding::ChecksumDiffers { algorithm: Algorithm::Crc32, .. }), "{finding}");
}

#[tokio::test]
async fn a_connection_cut_inside_a_body_is_gone_on_with_by_a_range() {
    let cut = Reply::Cut(200, 11, b"hello".to_vec());
    let (bucket, server) = bucket([Reply::Lost, cut, part("bytes 5-10/11", b" world")]).await;
    assert_eq!(hex(&read(&bucket).await.unwrap().unwrap()), SHA256);
    let asked = server.asked();
    assert_eq!(asked[2].header("range"), Some("bytes=5-10"));
    assert_eq!(asked[2].header("if-match"), Some("\"e\""));
}

#[tokio::test]
async fn a_storm_of_slow_down_and_a_silent_server_are_sat_out() {
    let slow = (0..20).map(|_| Reply::s3_error(503, "SlowDown"));
    let (bucket, server) = bucket(slow.chain([Reply::Silence, Reply::new(500, ""), hello(&[])])).await;
    assert_eq!(hex(&read(&bucket).await.unwrap().unwrap()), SHA256);
    assert_eq!(server.asked().len(), 23);
}

#[tokio::test]
async fn what_became_of_the_pinned_version_is_a_finding() {
    for (reply, finding) in [
        (Reply::s3_error(412, "PreconditionFailed"), Finding::Changed),
        (Reply::s3_error(404, "NoSuchVersion"), Finding::Missing),
        (Reply::s3_error(404, "NoSuchKey"), Finding::Missing),
        (Reply::s3_error(405, "MethodNotAllowed"), Finding::Missing),
    ] {
        let (bucket, _server) = bucket([reply]).await;
        assert_eq!(read(&bucket).await.unwrap().unwrap_err(), finding);
    }
    let (shorter, _server) = bucket([Reply::With(200, vec![], b"hello".to_vec()), Reply::new(200, "hello")]).await;
    let finding = read(&shorter).await.unwrap().unwrap_err();
    assert_eq!(finding, Finding::WrongLength { expected_bytes: 11, received_bytes: 5 });
}

#[tokio::test]
async fn a_refusal_to_look_and_a_bucket_that_is_not_there_are_no_findings() {
    for (status, code) in [(403, "AccessDenied"), (404, "NoSuchBucket")] {
        let (bucket, _server) = bucket([Reply::s3_error(status, code)]).await;
        let unanswered = read(&bucket).await.unwrap_err();
        assert_eq!((unanswered.attempts, unanswered.source.again), (1, Again::Never), "{code}");
        assert!(crate::logging::chain(&unanswered).contains(code), "{}", crate::logging::chain(&unanswered));
    }
}

async fn opened(reply: Reply) -> Result<(u64, u64, u64), ReadFault> {
    let (bucket, _server) = bucket([reply]).await;
    match bucket.open(&pinned(), Ask::Range { offset: 4, length: 3 }).await? {
        Answer::Here(Opened { offset, length, size_bytes, .. }) => Ok((offset, length, size_bytes)),
        Answer::Changed | Answer::Missing | Answer::BeyondEnd => panic!("it is there"),
    }
}

#[tokio::test]
async fn what_an_answer_announces_is_told_as_it_is_for_the_engine_to_judge() {
    assert_eq!(opened(part("bytes 4-6/11", b"o w")).await.unwrap(), (4, 3, 11));
    assert_eq!(opened(part("bytes 5-7/11", b" wo")).await.unwrap(), (5, 3, 11));
    assert_eq!(opened(hello(&[])).await.unwrap(), (0, 11, 11), "the whole, for a range");
    for nonsense in ["bytes 4-7/11", "bytes 4-6/6", "bytes */11", "4-6/11"] {
        assert!(opened(part(nonsense, b"o w")).await.is_err(), "{nonsense}");
    }
}

#[tokio::test]
async fn a_description_is_by_head_and_a_missing_bucket_is_not_a_missing_object() {
    let head = vec![
        ("ETag", "\"e\"".to_owned()),
        ("Content-Length", "11".to_owned()),
        ("x-amz-checksum-crc64nvme", CRC64.to_owned()),
    ];
    let (described, server) = bucket([Reply::With(200, head, vec![])]).await;
    let Answer::Here(description) = described.describe(&pinned()).await.unwrap() else { panic!("it is there") };
    assert_eq!(description.size_bytes, 11);
    assert_eq!(description.recorded.unwrap().algorithm, Algorithm::Crc64Nvme);
    assert_eq!(server.asked()[0].header("x-amz-checksum-mode"), Some("ENABLED"));
    let (gone, _server) = bucket([Reply::new(404, ""), Reply::s3_error(404, "NoSuchBucket")]).await;
    assert!(gone.describe(&pinned()).await.is_err());
}

#[test]
fn a_content_range_is_believed_only_when_it_covers_the_bytes_that_come() {
    assert_eq!(content_range("bytes 4-7/10", 4), Some((4, 10)));
    assert_eq!(content_range("bytes 0-9/10", 10), Some((0, 10)));
    for (text, length) in
        [("bytes 4-7/10", 5), ("bytes 4-7/7", 4), ("bytes 7-4/10", 4), ("bytes */10", 0), ("4-7/10", 4)]
    {
        assert_eq!(content_range(text, length), None, "{text}");
    }
    assert_eq!(content_range("bytes 0-18446744073709551615/18446744073709551615", 0), None);
}
