//! What gets through a freeze of a real Weaviate, written by the official Python client: through ReadOnly alone, and with
//! writers shut out as before a final backup.
//!
//! It needs `LIFEBOAT_FREEZE_WEAVIATE`, a real server's binary, and `LIFEBOAT_FREEZE_PYTHON`, a Python with
//! `weaviate-client` 4.23; `LIFEBOAT_FREEZE_BINARY` says in words what the binary is. With `LIFEBOAT_FREEZE_EVIDENCE` it writes `docs/evidence/freeze-<version>.json` there, which
//! `shared/domain/src/weaviate/read_only.rs` is held to.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use lifeboat_domain::ids::Sha256Digest;
use lifeboat_domain::weaviate::WritePath;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::load;
use crate::replacement::key;
use crate::support::{Cluster, Setup, on};

/// The script at work.
struct Script {
    _child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Script {
    fn start(python: &str, fixed: &str, own: &str) -> Result<Self> {
        let script = lifeboat_stack::workspace_root().join("tests/client/freeze.py");
        let mut child = Command::new(python)
            .arg(script)
            .args([fixed, own])
            .env("FREEZE_KEY", key())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (orders, answers) = (child.stdin.take().context("stdin")?, child.stdout.take().context("stdout")?);
        Ok(Self { _child: child, orders, answers: BufReader::new(answers).lines() })
    }

    async fn order(&mut self, line: &str) -> Result<Value> {
        self.orders.write_all(format!("{line}\n").as_bytes()).await?;
        let answer = self.answers.next_line().await?.with_context(|| format!("no answer to {line}"))?;
        Ok(serde_json::from_str(&answer)?)
    }
}

async fn nodes(cluster: &Cluster) -> Result<Value> {
    let url = format!("http://{}:8080/v1/nodes", cluster.first.address);
    let found: Value = reqwest::Client::new().get(url).bearer_auth(key()).send().await?.json().await?;
    Ok(found["nodes"][0].clone())
}

/// Writes the overrides file of the host as its script would, and waits until Weaviate says so.
async fn mode(cluster: &Cluster, text: &str, mode: &str) -> Result<()> {
    let file = cluster.first.sandbox.join("workspace/weaviate/overrides/overrides.yaml");
    let new = file.with_extension("new");
    std::fs::write(&new, text)?;
    std::fs::rename(&new, &file)?;
    cluster
        .wait("the operational mode", || async { Ok((nodes(cluster).await?["operationalMode"] == mode).then_some(())) })
        .await
}

fn table(title: &str, of: &Value) {
    eprintln!("{title}:");
    for path in WritePath::ALL {
        let one = &of[path.name()];
        eprintln!("  {:15} stored: {:5}  {}", path.name(), one["stored"], one["said"].as_str().unwrap_or_default());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_write_gets_through_to_a_real_weaviate_whose_writers_are_shut_out() {
    let of = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (Some(binary), Some(python)) = (of("LIFEBOAT_FREEZE_WEAVIATE"), of("LIFEBOAT_FREEZE_PYTHON")) else {
        eprintln!(
            "NOT RUN: LIFEBOAT_FREEZE_WEAVIATE and LIFEBOAT_FREEZE_PYTHON name no real server and no Python client"
        );
        return;
    };
    on(Setup::real(Path::new(&binary)), async |cluster| {
        // Whoever is not a reader is a writer.
        let (_, readers) = load::addresses(cluster.stack.fixed_address())?;
        let (writer, reader) =
            (cluster.stack.output("WriterSecurityGroupId")?, cluster.stack.output("ReaderSecurityGroupId")?);
        let mut knob = serde_json::Map::from_iter([("*".to_owned(), json!([writer]))]);
        knob.extend(readers.into_iter().map(|address| (address, json!([reader]))));
        cluster.stack.set_knobs(json!({"client_groups": knob})).await?;

        let mut script = Script::start(&python, cluster.stack.fixed_address(), &cluster.first.address)?;
        let prepared = script.order("prepare").await?;
        ensure!(prepared["ok"] == true, "{prepared}");
        mode(cluster, "operational_mode: ReadOnly\n", "ReadOnly").await?;
        let alone = script.order("attempt read_only_alone").await?;
        table("ReadOnly alone", &alone);
        mode(cluster, "{}\n", "ReadWrite").await?;
        let prepared = script.order("prepare").await?;
        ensure!(prepared["ok"] == true, "a new stream is open: {prepared}");

        let request = json!({"InstanceId": cluster.first.instance, "ShouldDecrementDesiredCapacity": true});
        cluster.stack.call("autoscaling", "terminate_instance_in_auto_scaling_group", request).await??;
        let proof = cluster
            .wait("the proof that writers are shut out", || async {
                let writers = cluster.create_run().await?.writers;
                Ok(writers.filter(|w| w.is_over()))
            })
            .await?;
        let proof = proof.proof.with_context(|| format!("{:?}", proof.gave_up))?;
        let node = nodes(cluster).await?;
        let shut = script.order("attempt shut_out").await?;
        table("writers shut out", &shut);
        for path in WritePath::ALL {
            ensure!(shut[path.name()]["stored"] == false, "{} got through: {}", path.name(), shut[path.name()]);
        }

        if let Some(directory) = of("LIFEBOAT_FREEZE_EVIDENCE") {
            let version = node["version"].as_str().context("version")?;
            let evidence = json!({
                "what": "which writes of the official Python client, and by HTTP, a real Weaviate stored in ReadOnly alone, and with its writers shut out as before a final backup; everything through the fixed address of the local stack",
                "version": version,
                "git_hash": node["gitHash"],
                "binary_sha256": Sha256Digest::of(&std::fs::read(&binary)?),
                "binary": of("LIFEBOAT_FREEZE_BINARY"),
                "client": "weaviate-client 4.23.1, its own batching over an open stream; its stubs and plain HTTP for the others",
                "read_only_alone": alone,
                "shut_out": shut,
                "proof": proof,
            });
            let file = Path::new(&directory).join(format!("freeze-{version}.json"));
            std::fs::write(&file, format!("{evidence:#}\n"))?;
            eprintln!("written: {}", file.display());
        }
        script.orders.write_all(b"end\n").await?;
        Ok(())
    })
    .await;
}
