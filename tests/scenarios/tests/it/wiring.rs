//! The template's own promises: what starts whom, what the group rests on, and that nothing is written twice by hand.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use lifeboat_domain::keys::Function;
use lifeboat_stack::workspace_root;
use serde_json::{Value, json};

use crate::support::{CORPUS, Cluster, Setup, logical, on};

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(workspace_root().join(path)).with_context(|| format!("reading {path}"))
}

/// The deployed rules with an event pattern: name → pattern.
async fn patterns(cluster: &Cluster) -> Result<BTreeMap<String, String>> {
    let listed = cluster.stack.call("events", "list_rules", json!({})).await??;
    let rules = listed["Rules"].as_array().context("rules")?;
    let pattern = |rule: &Value| Some((rule["Name"].as_str()?.to_owned(), rule["EventPattern"].as_str()?.to_owned()));
    Ok(rules.iter().filter_map(pattern).collect())
}

/// The functions whose deployed rules match this event.
async fn started(cluster: &Cluster, rules: &BTreeMap<String, String>, event: &Value) -> Result<BTreeSet<&'static str>> {
    let mut found = BTreeSet::new();
    for (name, pattern) in rules {
        let request = json!({"EventPattern": pattern, "Event": event.to_string()});
        let answer = cluster.stack.call("events", "test_event_pattern", request).await??;
        if answer["Result"] == true {
            let of = Function::ALL.into_iter().find(|f| name.contains(&format!("-{}Function", logical(*f))));
            found.insert(of.with_context(|| format!("{name} is no function's rule"))?.name());
        }
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_key_starts_its_function_and_no_other_and_most_keys_start_none() {
    on(Setup::new(), async |cluster| {
        let rules = patterns(cluster).await?;
        let id = "backups/weaviate_backup_2026-11-20t033000z_g7_1";
        let work = "work/weaviate_backup_2026-11-20t033000z_g7_1";
        let manifests = "manifests/weaviate_backup_2026-11-20t033000z_g7_1";
        let none = BTreeSet::new;
        let only = |name: &'static str| BTreeSet::from([name]);
        for (key, wanted) in [
            ("indexing/wiki/_SUCCESS".to_owned(), only("create-backup")),
            ("indexing/wiki/2026-11-20/_SUCCESS".to_owned(), only("create-backup")),
            (format!("{id}/backup_config.json"), only("verify-checksums")),
            (format!("{work}/shard-00003.json"), only("verify-checksums")),
            (format!("{work}/part-00003.json"), only("flip-manifest")),
            (format!("{manifests}/observed-after.json"), only("flip-manifest")),
            ("ownership.json".to_owned(), only("flip-manifest")),
            ("requests/create-backup/r1.json".to_owned(), only("create-backup")),
            ("requests/verify-checksums/r1.json".to_owned(), only("verify-checksums")),
            ("requests/flip-manifest/r1.json".to_owned(), only("flip-manifest")),
            ("requests/drive-restore/r1.json".to_owned(), only("drive-restore")),
            ("requests/prune-backups/r1.json".to_owned(), only("prune-backups")),
            (format!("{id}/weaviate-0/Article/chunk-1"), none()),
            (format!("{id}/weaviate-0/backup.json"), none()),
            (format!("{id}/restore_config.json"), none()),
            (format!("drills/x/{id}/backup_config.json"), none()),
            (format!("healed/{id}/backup_config.json"), none()),
            ("latest_weaviate_backup.manifest.json".to_owned(), none()),
            ("latest_weaviate_backup.manifest.json.tmp".to_owned(), none()),
            (format!("{manifests}/expectations.json"), none()),
            (format!("{manifests}/manifest.json"), none()),
            (format!("{manifests}/evidence/verify-2026-11-20t033000z.json"), none()),
            ("runs/create-backup/current.json".to_owned(), none()),
            ("runs/host/i-0a1b2c3d4e5f60718.json".to_owned(), none()),
            ("status/ready.json".to_owned(), none()),
            ("indexing/wiki/part-00000.parquet".to_owned(), none()),
            ("indexing/wiki/_SUCCESS.crc".to_owned(), none()),
        ] {
            let found = started(cluster, &rules, &cluster.written(&key)).await?;
            assert_eq!(found, wanted, "{key}");
            let mut elsewhere = cluster.written(&key);
            elsewhere["detail"]["bucket"]["name"] = "another-bucket".into();
            assert_eq!(started(cluster, &rules, &elsewhere).await?, none(), "{key} in another bucket");
            let mut deleted = cluster.written(&key);
            deleted["detail-type"] = "Object Deleted".into();
            assert_eq!(started(cluster, &rules, &deleted).await?, none(), "{key} deleted");
        }
        let mut hook = crate::support::case(Function::DriveRestore, "replacement-launching")?;
        assert_eq!(started(cluster, &rules, &hook).await?, only("drive-restore"));
        hook["detail"]["AutoScalingGroupName"] = "lifeboat-staging".into();
        assert_eq!(started(cluster, &rules, &hook).await?, none());
        let hook = crate::support::case(Function::DriveRestore, "old-node-terminating")?;
        assert_eq!(started(cluster, &rules, &hook).await?, BTreeSet::from(["create-backup", "drive-restore"]));
        Ok(())
    })
    .await;
}

/// The lines with which a function ended its invocations.
fn ended(cluster: &Cluster, function: Function) -> Result<Vec<Value>> {
    let log = cluster.log(function)?;
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    Ok(lines.filter(|line| line["lambda.request_id"].is_string()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_whole_life_no_function_is_started_by_what_is_not_for_it_or_fails() {
    on(Setup::new(), async |cluster| {
        cluster.protect("wiki").await?;
        let counted = cluster.stack.counts().await?;
        let (s3_events, verify) =
            (counted["s3_events"].as_u64().unwrap_or(0), ended(cluster, Function::VerifyChecksums)?);
        // backup_config.json twice, and one shard: no chunk, no node's descriptor.
        assert_eq!(verify.len(), 3, "{verify:#?}");
        ensure!(s3_events > 15, "{counted}");
        for function in Function::ALL {
            for line in ended(cluster, function)? {
                ensure!(line["level"] != "ERROR", "before anything was lost: {line}");
            }
        }
        cluster.lose_first().await?;
        cluster.serving(&[&cluster.first.instance]).await?;
        assert_eq!(cluster.client.counts().await?.values().sum::<u64>(), CORPUS.objects);
        let mut figures = Vec::new();
        for function in Function::ALL {
            let lines = ended(cluster, function)?;
            for line in &lines {
                ensure!(!line.to_string().contains("ignored"), "{line}");
                // Of a node that died no final backup can be taken, and create-backup says so aloud; nobody else errs.
                let lost = function == Function::CreateBackup && line.to_string().contains("closed: node_gone");
                ensure!(line["level"] != "ERROR" || lost, "{line}");
            }
            figures.push(format!("{} {}", function.name(), lines.len()));
        }
        eprintln!("invocations over a life: {}; {s3_events} S3 events until the flip", figures.join(", "));
        for function in Function::ALL {
            let queue = cluster.stack.output(&format!("{}FailuresQueueUrl", logical(function)))?;
            let request = json!({"QueueUrl": queue, "AttributeNames": ["ApproximateNumberOfMessages"]});
            let queue = cluster.stack.call("sqs", "get_queue_attributes", request).await??;
            assert_eq!(queue["Attributes"]["ApproximateNumberOfMessages"], "0", "{}", function.name());
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deployed_group_has_its_hooks_and_keeps_what_is_abandoned_and_functions_have_their_settings() {
    on(Setup::new(), async |cluster| {
        let group = cluster.group().await?;
        assert_eq!(
            (&group["MinSize"], &group["MaxSize"], &group["DesiredCapacity"]),
            (&json!(0), &json!(1), &json!(1))
        );
        assert_eq!(
            group["InstanceLifecyclePolicy"]["RetentionTriggers"]["TerminateHookAbandon"], "retain",
            "{group:#}"
        );
        let request = json!({"AutoScalingGroupName": cluster.stack.output("GroupName")?});
        let hooks = cluster.stack.call("autoscaling", "describe_lifecycle_hooks", request).await??;
        let mut found = BTreeMap::new();
        for hook in hooks["LifecycleHooks"].as_array().context("hooks")? {
            assert_eq!((&hook["HeartbeatTimeout"], &hook["DefaultResult"]), (&json!(7200), &json!("ABANDON")));
            found.insert(hook["LifecycleHookName"].as_str(), hook["LifecycleTransition"].as_str());
        }
        let wanted = [
            (Some("launch"), Some("autoscaling:EC2_INSTANCE_LAUNCHING")),
            (Some("terminate"), Some("autoscaling:EC2_INSTANCE_TERMINATING")),
        ];
        assert_eq!(found, BTreeMap::from(wanted));
        for function in Function::ALL {
            let request = json!({"FunctionName": cluster.function(function)?});
            let deployed = cluster.stack.call("lambda", "get_function_configuration", request).await??;
            assert_eq!(
                (&deployed["Runtime"], &deployed["Architectures"]),
                (&json!("provided.al2023"), &json!(["arm64"]))
            );
            let variables = deployed["Environment"]["Variables"].as_object().context("variables")?;
            ensure!(variables.keys().all(|name| name.starts_with("LIFEBOAT_")), "{variables:?}");
            ensure!(variables.values().all(|value| value.as_str().is_some_and(|v| !v.is_empty())), "{variables:?}");
            ensure!(!Value::from(variables.clone()).to_string().contains("-key-of-the-local-stack"), "a key's value");
            // Its settings are read at the cold start, all of them: a tick that is answered has found them.
            let answer = cluster.ticked(function).await?;
            ensure!(answer.function_error.is_none(), "{answer:?}");
        }
        Ok(())
    })
    .await;
}

/// The lines of a resource of the template.
fn resource<'t>(template: &'t str, logical_id: &str) -> Result<Vec<&'t str>> {
    let head = format!("  {logical_id}:");
    let lines = template.lines().skip_while(|line| *line != head).skip(1);
    let body: Vec<&str> = lines.take_while(|line| line.is_empty() || line.starts_with("   ")).collect();
    ensure!(!body.is_empty(), "the template has no {logical_id}");
    Ok(body)
}

#[test]
fn the_group_starts_only_after_everything_that_listens_to_it() -> Result<()> {
    let template = read("template.yaml")?;
    let group = resource(&template, "Group")?;
    let depends: BTreeSet<&str> = group.iter().filter_map(|line| line.strip_prefix("      - ")).collect();
    for function in Function::ALL {
        let name = format!("{}Function", logical(function));
        let body = resource(&template, &name)?;
        let events = body.iter().skip_while(|line| **line != "      Events:").skip(1);
        let events: Vec<&str> = events
            .filter_map(|l| l.strip_prefix("        ")?.strip_suffix(':'))
            .filter(|l| !l.starts_with(' '))
            .collect();
        let least = if function == Function::PruneBackups { 2 } else { 4 };
        let both = events.contains(&"Tick") && events.contains(&"Request");
        ensure!(events.len() >= least && both, "{name} has {events:?}");
        for event in events {
            for needed in [format!("{name}{event}"), format!("{name}{event}Permission")] {
                ensure!(depends.contains(needed.as_str()), "the group does not depend on {needed}");
            }
        }
    }
    for needed in ["BucketPolicy", "Address", "PrepareHostDocument", "ProbeHostDocument", "MoveAddressDocument"] {
        ensure!(depends.contains(needed), "the group does not depend on {needed}");
    }
    ensure!(
        group.iter().any(|line| line.trim() == "LifecycleHookSpecificationList:"),
        "hooks are in the group's own list"
    );
    ensure!(
        !template.contains("AWS::AutoScaling::LifecycleHook"),
        "a hook apart from the group comes after its first instance"
    );
    Ok(())
}

#[test]
fn the_hosts_scripts_are_embedded_byte_for_byte() -> Result<()> {
    let mut check = std::process::Command::new("python3");
    let output = check.args(["host/embed.py", "--check"]).current_dir(workspace_root()).output().context("python3")?;
    ensure!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

#[test]
fn the_last_command_of_the_gate_is_the_test_command_of_the_readme() -> Result<()> {
    let readme = read("README.md")?;
    let in_readme: BTreeSet<&str> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("cargo test"))
        .map(|rest| rest.split('#').next().unwrap_or_default().trim())
        .collect();
    assert_eq!(in_readme, BTreeSet::from([""]), "one test command, `cargo test`");
    let gate = read(".ci/run")?;
    let commands: Vec<&str> =
        gate.lines().map(str::trim).filter(|l| l.starts_with("cargo ") || l.contains(" cargo ")).collect();
    let commands: Vec<&&str> = commands.iter().filter(|line| !line.starts_with("step ")).collect();
    assert_eq!(commands.last(), Some(&&"cargo test"), "{gate}");
    Ok(())
}
