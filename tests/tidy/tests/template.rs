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
fn no_role_may_delete_an_object() {
    let template = read("template.yaml");
    let (mut effect, mut denies) = ("", 0);
    for (number, line) in template.lines().enumerate() {
        // The bucket's shell scripts are not policies; an Effect always comes before the actions of its statement.
        if let Some((_, after)) = line.split_once("Effect: ") {
            effect = if after.starts_with("Deny") { "Deny" } else { "Allow" };
        }
        let words = line.split(|c: char| !(c.is_alphanumeric() || c == ':' || c == '*'));
        if words.into_iter().any(|word| DESTROYING.contains(&word)) {
            assert_eq!(effect, "Deny", "line {}: {}", number + 1, line.trim());
            denies += 1;
        }
    }
    assert!(denies >= 3, "the bucket policy no longer denies deletes, or this test no longer finds them");
    assert!(!template.contains("NotAction"), "an Allow with NotAction allows what this test looks for");
    assert!(!template.contains("AdministratorAccess") && !template.contains("AmazonS3FullAccess"));
}
