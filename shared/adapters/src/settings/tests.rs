use super::*;

fn complete() -> BTreeMap<String, String> {
    [
        (CLUSTER, "weaviate"),
        (BUCKET, "lifeboat-bucket"),
        (MARKER_BUCKET, "ray-output"),
        (MARKER_PREFIX, "indexing/"),
        (GROUP, "stack-weaviate"),
        (LAUNCH_HOOK, "launch"),
        (TERMINATE_HOOK, "terminate"),
        (FIXED_ADDRESS, "10.0.2.15"),
        (READER_GROUP, "sg-0aa"),
        (WRITER_GROUP, "sg-0bb"),
        (OPERATOR_KEY, "/lifeboat/weaviate/keys/operator"),
        (PREPARE_DOCUMENT, "stack-PrepareHostDocument-AbC"),
        (PROBE_DOCUMENT, "stack-ProbeHostDocument-AbC"),
        (TEND_DOCUMENT, "stack-TendHostDocument-AbC"),
        (WRITERS_DOCUMENT, "stack-SetWritersDocument-AbC"),
        (READ_ADDRESS_DOCUMENT, "stack-ReadAddressDocument-AbC"),
        (MOVE_ADDRESS_DOCUMENT, "stack-MoveAddressDocument-AbC"),
    ]
    .into_iter()
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .collect()
}

#[test]
fn a_complete_environment_gives_every_function_its_settings_with_the_defaults() {
    let restore = DriveRestoreSettings::from_map(&complete()).unwrap();
    assert_eq!(restore.address.address, Ipv4Addr::new(10, 0, 2, 15));
    assert!(!restore.allow_empty_start);
    assert_eq!(restore.predecessor_deadline, Duration::from_secs(7_200));
    assert_eq!(restore.poll, Duration::from_secs(2));
    let create = CreateBackupSettings::from_map(&complete()).unwrap();
    assert_eq!(create.stall, Duration::from_secs(1_800));
    assert_eq!(create.backup_interval, Duration::from_secs(3_600));
    assert_eq!(create.markers, Markers { bucket: "ray-output".into(), prefix: "indexing/".into() });
    let prune = PruneBackupsSettings::from_map(&complete()).unwrap();
    assert_eq!(prune.retention, lifeboat_domain::retention::Policy::default());
    let verify = VerifyChecksumsSettings::from_map(&complete()).unwrap();
    assert_eq!(
        (verify.etags, verify.limits, verify.fixity),
        (EtagMeaning::Md5, Limits::default(), fixity::Policy::default())
    );
    assert!(FlipManifestSettings::from_map(&complete()).is_ok());
}

#[test]
fn how_verification_reads_can_be_set() {
    let mut variables = complete();
    for (name, value) in [(ETAGS_ARE_MD5, "no"), (VERIFY_RATE_MIB, "200"), (FIXITY_PERIOD_DAYS, "7")] {
        variables.insert(name.to_owned(), value.to_owned());
    }
    let verify = VerifyChecksumsSettings::from_map(&variables).unwrap();
    assert_eq!((verify.etags, verify.limits.object_bytes_max()), (EtagMeaning::Opaque, (200 * 840) << 20));
    assert_eq!(verify.fixity.period, Duration::from_secs(7 * 86_400));
    variables.insert(FIXITY_PERIOD_DAYS.to_owned(), "weekly".to_owned());
    let error = VerifyChecksumsSettings::from_map(&variables).unwrap_err().to_string();
    assert!(error.contains(FIXITY_PERIOD_DAYS), "{error}");
}

#[test]
fn an_empty_environment_is_one_error_that_names_every_variable() {
    let error = DriveRestoreSettings::from_map(&BTreeMap::new()).unwrap_err();
    let missing: Vec<&str> = error.problems.iter().map(|p| p.variable).collect();
    let of_create_backup = [TEND_DOCUMENT, WRITERS_DOCUMENT];
    let all: Vec<String> = complete().into_keys().filter(|name| !of_create_backup.contains(&name.as_str())).collect();
    assert_eq!(missing.len(), all.len());
    let text = error.to_string();
    for name in all {
        assert!(text.contains(&format!("{name} is not set")), "{name} in {text}");
    }
}

#[test]
fn each_wrong_value_is_reported_under_its_name_and_with_its_rule() {
    for (name, value) in [
        (CLUSTER, ""),
        (CLUSTER, "a b"),
        (BUCKET, "Upper"),
        (BUCKET, "ab"),
        (MARKER_PREFIX, "indexing"),
        (MARKER_PREFIX, "/indexing/"),
        (GROUP, "a:b"),
        (LAUNCH_HOOK, ""),
        (FIXED_ADDRESS, "10.0.2"),
        (READER_GROUP, "readers"),
        (WRITER_GROUP, "sg-"),
        (PREPARE_DOCUMENT, "x"),
        (ALLOW_EMPTY_START, "true"),
        (PREDECESSOR_DEADLINE_MINUTES, "0"),
        (PREDECESSOR_DEADLINE_MINUTES, "-1"),
        (PREDECESSOR_DEADLINE_MINUTES, "1.5"),
        (POLL_INTERVAL_MS, "9"),
    ] {
        let mut variables = complete();
        variables.insert(name.to_owned(), value.to_owned());
        let error = DriveRestoreSettings::from_map(&variables).unwrap_err();
        assert_eq!(error.problems.len(), 1, "{name}={value}: {error}");
        assert_eq!(error.problems[0].variable, name);
        assert_eq!(error.problems[0].found.as_deref(), Some(value));
    }
}

#[test]
fn a_key_put_where_its_name_belongs_is_not_repeated_in_the_error() {
    let mut variables = complete();
    variables.insert(OPERATOR_KEY.to_owned(), "wvk-this-is-a-key".to_owned());
    let error = CreateBackupSettings::from_map(&variables).unwrap_err();
    assert!(error.to_string().contains(OPERATOR_KEY));
    assert!(!format!("{error} {error:?}").contains("wvk"), "{error:?}");
}

#[test]
fn two_wrong_values_are_both_reported() {
    let mut variables = complete();
    variables.insert(BUCKET.to_owned(), "X".to_owned());
    variables.remove(GROUP);
    let error = CreateBackupSettings::from_map(&variables).unwrap_err().to_string();
    assert!(error.contains(BUCKET) && error.contains(GROUP), "{error}");
}

#[test]
fn a_function_does_not_ask_for_what_it_does_not_use() {
    let variables: BTreeMap<String, String> =
        complete().into_iter().filter(|(name, _)| [BUCKET].contains(&name.as_str())).collect();
    assert!(VerifyChecksumsSettings::from_map(&variables).is_ok());
}

#[test]
fn a_secrets_manager_reference_is_a_parameter_name() {
    let mut variables = complete();
    variables.insert(OPERATOR_KEY.to_owned(), "/aws/reference/secretsmanager/prod/weaviate+key@1".to_owned());
    assert!(DriveRestoreSettings::from_map(&variables).is_ok());
}

/// The names that a function asks for: the error about an empty environment lists them.
fn asked<T: FromVariables + std::fmt::Debug>() -> Vec<&'static str> {
    T::from_map(&BTreeMap::new()).unwrap_err().problems.iter().map(|p| p.variable).collect()
}

/// The `LIFEBOAT_…` names below a function in the template.
fn given<'t>(template: &'t str, function: &str) -> Vec<&'t str> {
    let start = template.find(&format!("\n  {function}:\n")).expect("the template has the function") + 3;
    let resource = |line: &&str| !line.starts_with("    ") && !line.trim().is_empty();
    let lines = template[start..].lines().skip(1).take_while(|line| !resource(line));
    lines.filter_map(|l| l.trim().split_once(':')).map(|(n, _)| n).filter(|n| n.starts_with("LIFEBOAT_")).collect()
}

#[test]
fn the_template_gives_each_function_what_it_asks_for() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../template.yaml");
    let template = std::fs::read_to_string(path).unwrap();
    let optional = |names: &[&'static str]| names.to_vec();
    for (function, mut names, with_default) in [
        (
            "CreateBackupFunction",
            asked::<CreateBackupSettings>(),
            optional(&[BACKUP_INTERVAL_MINUTES, STALL_MINUTES, POLL_INTERVAL_MS]),
        ),
        (
            "PruneBackupsFunction",
            asked::<PruneBackupsSettings>(),
            optional(&[
                KEEP_LAST,
                KEEP_DAILY,
                KEEP_WEEKLY,
                KEEP_MONTHLY,
                KEEP_PUBLISHED_MIN,
                PRUNE_GRACE_HOURS,
                EVIDENCE_RETENTION_DAYS,
                POLL_INTERVAL_MS,
            ]),
        ),
        (
            "VerifyChecksumsFunction",
            asked::<VerifyChecksumsSettings>(),
            optional(&[ETAGS_ARE_MD5, VERIFY_RATE_MIB, FIXITY_PERIOD_DAYS, POLL_INTERVAL_MS]),
        ),
        ("FlipManifestFunction", asked::<FlipManifestSettings>(), optional(&[POLL_INTERVAL_MS])),
        (
            "DriveRestoreFunction",
            asked::<DriveRestoreSettings>(),
            optional(&[ALLOW_EMPTY_START, RESTORE_FALL_BACK, PREDECESSOR_DEADLINE_MINUTES, POLL_INTERVAL_MS]),
        ),
    ] {
        names.extend(with_default);
        let given = given(&template, function);
        for name in names {
            assert!(given.contains(&name), "{function} asks for {name}, which template.yaml does not give it");
        }
    }
}
