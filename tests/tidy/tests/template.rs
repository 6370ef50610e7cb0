//! What nobody may do, whatever else the template says.

use lifeboat_tidy::read;

/// Actions that destroy data in a bucket, or that include one that does.
const DESTROYING: [&str; 7] = [
    "s3:DeleteObject",
    "s3:DeleteObjectVersion",
    "s3:DeleteBucket",
    "s3:PutLifecycleConfiguration",
    "s3:PutBucketVersioning",
    "s3:*",
    "s3:Delete*",
];

#[test]
fn prune_backups_alone_may_delete_objects_drive_restore_sets_aside_one_descriptor_and_nobody_deletes_a_version() {
    let template = read("template.yaml");
    let (mut effect, mut resource, mut denies, mut allowed) = ("", "", 0, Vec::new());
    for (number, line) in template.lines().enumerate() {
        if let Some(name) = line.strip_prefix("  ").filter(|l| !l.starts_with([' ', '#'])) {
            resource = name.trim_end().trim_end_matches(':');
        }
        // The bucket's shell scripts are not policies; an Effect always comes before the actions of its statement.
        if let Some((_, after)) = line.split_once("Effect: ") {
            effect = if after.starts_with("Deny") { "Deny" } else { "Allow" };
        }
        let words = line.split(|c: char| !(c.is_alphanumeric() || c == ':' || c == '*'));
        if words.into_iter().any(|word| DESTROYING.contains(&word)) {
            if effect == "Deny" {
                denies += 1;
            } else {
                allowed.push((resource, line.trim(), number + 1));
            }
        }
    }
    let [("DriveRestoreRole", "Action: s3:DeleteObject", line), ("PruneBackupsRole", "Action: s3:DeleteObject", _)] =
        allowed.as_slice()
    else {
        panic!("{allowed:?} may delete");
    };
    let of = template.lines().nth(*line).expect("the statement's resources are on the next line").trim();
    let one = |prefix: &str| format!("!Sub '${{Bucket.Arn}}/{prefix}/*/restore_config.json'");
    assert_eq!(of, format!("Resource: [{}, {}]", one("backups"), one("healed")));
    assert!(denies >= 4, "the bucket policy no longer denies deletes, or this test no longer finds them");
    assert!(!template.contains("NotAction"), "an Allow with NotAction allows what this test looks for");
    assert!(!template.contains("AdministratorAccess") && !template.contains("AmazonS3FullAccess"));
}
