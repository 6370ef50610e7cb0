use std::process::Command;

use lifeboat_workflows::twins::World;

use super::*;

const PREFIX: &str = "data/v1/";

/// A prefix with names that are not easy, and something beside it.
fn world() -> World {
    let world = World::new();
    let bucket = world.bucket();
    for (name, body) in [
        ("a.txt", "alpha"),
        ("empty", ""),
        ("sub/b.txt", "beta"),
        ("sub/line\nfeed", "lf"),
        ("sub/back\\slash", "bs"),
        (" leading space", "sp"),
    ] {
        bucket.put_raw(&format!("{PREFIX}{name}"), body);
    }
    bucket.put_multipart(&format!("{PREFIX}sub/parts"), vec![7; 3000]);
    bucket.put_raw(&format!("{PREFIX}sub/"), "");
    bucket.put_raw("data/v10/other", "not ours");
    world
}

fn asked(check: Option<&str>, json: bool) -> Asked {
    let location = Location::parse("s3://lifeboat-test/data/v1").unwrap();
    Asked { location, check: check.map(str::to_owned), json, policy: Policy::default() }
}

struct Printed {
    code: u8,
    out: String,
    err: String,
}

async fn sums(world: &World, asked: &Asked) -> Printed {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = run(&world.bucket(), asked, &mut Printer { out: &mut out, err: &mut err }).await.unwrap();
    Printed { code, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

/// The prefix as a directory.
fn download(world: &World, name: &str) -> std::path::PathBuf {
    let directory = std::env::temp_dir().join(format!("lifeboat-sums-{name}-{}", std::process::id()));
    for key in world.bucket().keys(PREFIX).iter().filter(|key| !key.ends_with('/')) {
        let path = directory.join(&key[PREFIX.len()..]);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, world.bucket().bytes(key).unwrap()).unwrap();
    }
    directory
}

fn sha256sum(directory: &std::path::Path, arguments: &[&str]) -> (i32, String) {
    let output = Command::new("sha256sum").args(arguments).current_dir(directory).output().expect("coreutils");
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[tokio::test]
async fn the_sums_of_a_prefix_are_what_sha256sum_prints_in_a_copy_of_it_and_takes_back() {
    let world = world();
    let printed = sums(&world, &asked(None, false)).await;
    assert_eq!((printed.code, printed.err.as_str()), (0, ""));
    insta::assert_snapshot!("sums", printed.out);
    let directory = download(&world, "copy");
    let names: Vec<&str> =
        vec![" leading space", "a.txt", "empty", "sub/b.txt", "sub/back\\slash", "sub/line\nfeed", "sub/parts"];
    let mut real: Vec<String> = sha256sum(&directory, &names).1.lines().map(str::to_owned).collect();
    let mut ours: Vec<String> = printed.out.lines().map(str::to_owned).collect();
    real.sort();
    ours.sort();
    assert_eq!(ours, real);
    std::fs::write(directory.join("SHA256SUMS"), &printed.out).unwrap();
    assert_eq!(sha256sum(&directory, &["-c", "--strict", "SHA256SUMS"]).0, 0);
    std::fs::write(directory.join("sub/b.txt"), "bet4").unwrap();
    let (code, said) = sha256sum(&directory, &["-c", "SHA256SUMS"]);
    assert_eq!(code, 1);
    assert!(said.contains("sub/b.txt: FAILED\n"), "{said}");
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
async fn checking_a_prefix_says_what_sha256sum_says_of_a_copy_with_the_same_exit_code() {
    let world = world();
    let file = sums(&world, &asked(None, false)).await.out;
    let whole = sums(&world, &asked(Some(&file), false)).await;
    assert_eq!((whole.code, whole.err.as_str()), (0, ""));
    type Damage<'d> = (&'d str, &'d dyn Fn(&World));
    let damages: [Damage; 5] = [
        ("nothing", &|_| {}),
        ("other bytes", &|w| drop(w.bucket().put_raw("data/v1/a.txt", "alpho"))),
        ("deleted", &|w| w.bucket().delete("data/v1/sub/parts")),
        ("a line feed in the name of a damaged one", &|w| drop(w.bucket().put_raw("data/v1/sub/line\nfeed", "x"))),
        ("one more", &|w| drop(w.bucket().put_raw("data/v1/new", "x"))),
    ];
    for (what, damage) in damages {
        let world = self::world();
        damage(&world);
        let ours = sums(&world, &asked(Some(&file), false)).await;
        let directory = download(&world, "checked");
        std::fs::write(directory.join("SHA256SUMS"), &file).unwrap();
        let (code, said) = sha256sum(&directory, &["-c", "SHA256SUMS"]);
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!((i32::from(ours.code), ours.out.as_str()), (code, said.as_str()), "{what}");
    }
}

#[tokio::test]
async fn a_file_of_sums_without_a_sum_is_a_failure_and_a_broken_line_a_warning() {
    let world = world();
    let none = sums(&world, &asked(Some("# only a comment\n\n"), false)).await;
    assert_eq!((none.code, none.out.as_str()), (1, ""));
    let file = format!("{}junk\n", sums(&world, &asked(None, false)).await.out);
    let printed = sums(&world, &asked(Some(&file), false)).await;
    assert_eq!(printed.code, 0);
    assert_eq!(printed.err, "lifeboat: WARNING: 1 line is improperly formatted\n");
}

#[tokio::test]
async fn a_damaged_object_has_no_sum_and_is_told_on_standard_error() {
    let world = world();
    world.bucket().flip_byte_in_place("data/v1/sub/parts", 5);
    world.bucket().flip_byte_in_place("data/v1/a.txt", 0);
    let printed = sums(&world, &asked(None, true)).await;
    let value: serde_json::Value = serde_json::from_str(&printed.out).unwrap();
    // An ETag is not known to be an MD5 in a bucket that is not ours, so rot is seen only where S3 has a checksum.
    assert_eq!(printed.code == 0, value["complete"] == true, "{}", printed.out);
    let file = sums(&self::world(), &asked(None, false)).await.out;
    let checked = sums(&world, &asked(Some(&file), false)).await;
    assert_eq!(checked.code, 1);
    assert!(checked.out.contains("a.txt: FAILED") && checked.out.contains("sub/parts: FAILED"), "{}", checked.out);
}

#[tokio::test]
async fn an_empty_prefix_is_a_failure_and_not_an_empty_file() {
    let world = World::new();
    let mut printer = Printer { out: &mut Vec::new(), err: &mut Vec::new() };
    let error = run(&world.bucket(), &asked(None, false), &mut printer).await.unwrap_err();
    assert_eq!(error.to_string(), "there is nothing under s3://lifeboat-test/data/v1/");
}

#[tokio::test]
async fn json_has_every_object_and_the_root_digest_of_the_full_keys() {
    let world = world();
    let printed = sums(&world, &asked(None, true)).await;
    insta::assert_snapshot!("sums_json", printed.out);
    let file = sums(&world, &asked(None, false)).await.out;
    world.bucket().put_raw("data/v1/a.txt", "other");
    let checked = sums(&world, &asked(Some(&file), true)).await;
    assert_eq!(checked.code, 1);
    insta::assert_snapshot!("check_json", checked.out);
}

#[test]
fn a_location_is_a_bucket_and_a_folder() {
    for (text, bucket, prefix) in
        [("s3://b", "b", ""), ("s3://b/", "b", ""), ("s3://b/x/y", "b", "x/y/"), ("s3://b/x/", "b", "x/")]
    {
        let expected = Location { bucket: bucket.into(), prefix: prefix.into() };
        assert_eq!(Location::parse(text), Ok(expected), "{text}");
    }
    for not in ["b/x", "s3:///x", "https://b/x", ""] {
        assert!(Location::parse(not).is_err(), "{not}");
    }
}
