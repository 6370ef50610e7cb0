//! The emulator's process: started with a clean environment, gone when its owner is.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// What the bridge says of itself when it serves.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Ready {
    pub(crate) endpoint: String,
    pub(crate) control: u16,
    pub(crate) fixed_address: String,
}

/// A running emulator. Dropping it kills every process that was started in its stack.
#[derive(Debug)]
pub(crate) struct Emulator {
    warden: Child,
    pub(crate) ready: Ready,
    dir: PathBuf,
}

const START_WITHIN: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(10);

impl Emulator {
    pub(crate) async fn start(python: &Path, dir: &Path, knobs: &str, enforce_iam: bool) -> Result<Self> {
        let bridge = Path::new(env!("CARGO_MANIFEST_DIR")).join("bridge");
        let log = File::create(dir.join("emulator.log")).context("cannot write emulator.log")?;
        let mut warden = Command::new(python)
            .arg(bridge.join("launch.py"))
            .current_dir(dir)
            .env_clear()
            .envs([("PATH", "/usr/local/bin:/usr/bin:/bin"), ("LANG", "C.UTF-8"), ("LIFEBOAT_KNOBS", knobs)])
            .env("LIFEBOAT_STACK_DIR", dir)
            .env("PYTHONPYCACHEPREFIX", crate::target_dir().join("lifeboat-pycache"))
            .env("AUTH", if enforce_iam { "true" } else { "false" })
            // The warden watches this pipe: it closes when we drop it and when we die, however we die.
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot run {}", python.display()))?;
        let (begun, file) = (Instant::now(), dir.join("ready.json"));
        while !file.exists() {
            let ended = warden.try_wait()?;
            if ended.is_some() || begun.elapsed() > START_WITHIN {
                let _ = warden.kill();
                let how = ended.map_or_else(
                    || format!("did not serve within {START_WITHIN:?}"),
                    |status| format!("ended with {status}"),
                );
                bail!("the AWS emulator {how}; its log ends:\n{}", tail(dir));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let ready =
            serde_json::from_slice(&std::fs::read(&file)?).context("ready.json is not what the bridge writes")?;
        Ok(Self { warden, ready, dir: dir.to_path_buf() })
    }

    /// The end of the emulator's log, for errors.
    pub(crate) fn tail(&self) -> String {
        tail(&self.dir)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        drop(self.warden.stdin.take());
        let begun = Instant::now();
        while begun.elapsed() < STOP_WITHIN {
            if !matches!(self.warden.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.warden.kill();
        let _ = self.warden.wait();
    }
}

fn tail(dir: &Path) -> String {
    let text = std::fs::read(dir.join("emulator.log")).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
