//! Pinned Python environments: each made once per content of its requirements, under `target/`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

const REQUIREMENTS: &str = include_str!("../requirements.txt");

/// The emulator's python, provisioned if it is not there yet.
pub(crate) fn python(show: &dyn Fn(&str)) -> Result<PathBuf> {
    environment(REQUIREMENTS, show).context("the emulator's Python environment")
}

/// The python of an environment with exactly these packages, provisioned if it is not there yet. Safe to call from several
/// processes at a time.
pub(crate) fn environment(requirements: &str, show: &dyn Fn(&str)) -> Result<PathBuf> {
    let target = crate::target_dir();
    std::fs::create_dir_all(&target).with_context(|| format!("cannot create {}", target.display()))?;
    let digest = Sha256::digest(requirements.as_bytes());
    let short: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let venv = target.join(format!("lifeboat-venv-{short}"));
    let (python, complete) = (venv.join("bin/python3"), venv.join("complete"));
    if complete.exists() {
        return Ok(python);
    }
    let lock = File::create(target.join(format!("lifeboat-venv-{short}.lock")))
        .context("cannot lock the Python environment")?;
    lock.lock().context("cannot lock the Python environment")?;
    if complete.exists() {
        return Ok(python);
    }
    if venv.exists() {
        std::fs::remove_dir_all(&venv).with_context(|| format!("cannot remove the unfinished {}", venv.display()))?;
    }
    let host = host_python()?;
    run(Command::new(&host).args(["-m", "venv"]).arg(&venv), show)?;
    let file = venv.join("requirements.txt");
    std::fs::write(&file, requirements).context("cannot write requirements.txt")?;
    run(
        Command::new(&python)
            .args([
                "-m",
                "pip",
                "install",
                "--require-hashes",
                "--only-binary=:all:",
                "--disable-pip-version-check",
                "-r",
            ])
            .arg(&file),
        show,
    )
    .context("its packages could not be installed (is a Python package index reachable?)")?;
    std::fs::write(&complete, "").context("cannot mark the Python environment as complete")?;
    Ok(python)
}

/// A python3 that can make environments, or what is missing.
fn host_python() -> Result<PathBuf> {
    let name = std::env::var_os("LIFEBOAT_PYTHON").map_or_else(|| PathBuf::from("python3"), PathBuf::from);
    let version = answer(&name, "import sys; print('%d.%d' % sys.version_info[:2], sys.version_info >= (3, 10))").with_context(|| {
        format!("the local stack needs python3 (3.10 or later): {} cannot be run; install it, or name one in LIFEBOAT_PYTHON", name.display())
    })?;
    if !version.ends_with("True") {
        bail!(
            "the local stack needs python 3.10 or later; {} is {version}: name another in LIFEBOAT_PYTHON",
            name.display()
        );
    }
    if answer(&name, "import venv, ensurepip").is_err() {
        bail!(
            "{} has no venv module with ensurepip, which the local stack needs to install its emulator \
             (on Debian and Ubuntu: apt-get install python3-venv)",
            name.display()
        );
    }
    Ok(name)
}

fn answer(python: &Path, code: &str) -> Result<String> {
    let output = Command::new(python).args(["-I", "-c", code]).stderr(Stdio::null()).output()?;
    if !output.status.success() {
        bail!("{} failed: {code}", python.display());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Run to completion, showing its output; the last lines are in the error.
fn run(command: &mut Command, show: &dyn Fn(&str)) -> Result<()> {
    let (reader, writer) = std::io::pipe()?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .spawn()
        .with_context(|| format!("cannot run {command:?}"))?;
    // The command value still holds the pipe's writing end, which must close for the reading end to finish.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut last = Vec::new();
    for line in BufReader::new(reader).lines() {
        let line = line?;
        show(&line);
        last.push(line);
        if last.len() > 15 {
            last.remove(0);
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("{command:?} ended with {status}:\n{}", last.join("\n"));
    }
    Ok(())
}
