//! `--weaviate docker`: the real image, where a Docker engine is found.
//!
//! The local stack runs a node as a program with the container's words and exactly its environment. This writes such a
//! program: it hands both to the engine, on the host's network, and sees to it that the container dies with it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

/// The image that is run when none is named: the oldest release that is supported.
pub const IMAGE: &str = "cr.weaviate.io/semitechnologies/weaviate:1.38.11";

/// The engine's client, when an engine answers it; else an error that names what is missing.
pub fn engine() -> anyhow::Result<PathBuf> {
    let host = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
    let answer = Command::new("docker").args(["version", "--format", "{{.Server.Version}}"]).output();
    match answer {
        Ok(answer) if answer.status.success() => {}
        Ok(_) => bail!("--weaviate docker needs a Docker engine, and none answers on {host}; use embedded or PATH"),
        Err(error) => bail!("--weaviate docker needs a Docker engine, and none answers on {host} (docker: {error})"),
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join("docker")).find(|file| file.is_file());
    found.context("docker answers, but is not in PATH")
}

/// Writes the program into `dir`. Everything below `mounted` is the same path inside the container.
pub fn launcher(engine: &Path, image: &str, mounted: &Path, dir: &Path) -> anyhow::Result<PathBuf> {
    let file = dir.join("weaviate-in-docker");
    let host = std::env::var("DOCKER_HOST").map(|host| format!("export DOCKER_HOST={}\n", quoted(&host)));
    let script = format!(
        r#"#!/bin/bash
# Runs Weaviate's image with the words and the environment that this program was given, and nothing else.
set -euo pipefail
given=()
for name in $(compgen -e); do
  case "$name" in PATH|PWD|SHLVL|_|OLDPWD) ;; *) given+=(-e "$name") ;; esac
done
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
{host}engine={engine}
name="lifeboat-demo-$$"
# The engine's client is what gets a SIGKILL when the machine dies; its container has to die too.
(
  trap '' HUP TERM INT
  while kill -0 "$$" 2>/dev/null; do sleep 0.1; done
  "$engine" kill "$name" >/dev/null 2>&1
) </dev/null >/dev/null 2>&1 &
exec "$engine" run --rm --name "$name" --network host --user "$(id -u):$(id -g)" \
  -v {mounted}:{mounted} "${{given[@]}}" {image} "$@"
"#,
        host = host.unwrap_or_default(),
        engine = quoted(&engine.display().to_string()),
        mounted = quoted(&mounted.display().to_string()),
        image = quoted(image),
    );
    std::fs::write(&file, script).with_context(|| format!("writing {}", file.display()))?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755))?;
    Ok(file)
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    /// An engine that writes down what it is asked, and whose `run` lasts.
    fn recorder(dir: &Path) -> PathBuf {
        let file = dir.join("engine");
        let record = dir.join("asked");
        let script = format!(
            "#!/bin/bash\nprintf '%s\\n' \"$*\" >> '{0}'\nif [ \"$1\" = run ]; then env | grep ^CLUSTER_ >> '{0}'; exec sleep 60; fi\n",
            record.display()
        );
        std::fs::write(&file, script).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        file
    }

    fn asked(dir: &Path, until: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let text = std::fs::read_to_string(dir.join("asked")).unwrap_or_default();
            if until(&text) {
                return text;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{text}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_container_gets_words_and_environment_and_dies_with_its_program() {
        let dir = std::env::temp_dir().join(format!("lifeboat-docker-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let program = launcher(&recorder(&dir), "image:1", Path::new("/stacks"), &dir).unwrap();
        let mut child = Command::new(program)
            .args(["--host", "127.1.2.3"])
            .env_clear()
            .env("CLUSTER_HOSTNAME", "weaviate-0 'x'")
            .spawn()
            .unwrap();
        let text = asked(&dir, |text| text.contains("CLUSTER_HOSTNAME="));
        let run = text.lines().next().unwrap();
        assert!(run.starts_with(&format!("run --rm --name lifeboat-demo-{} --network host", child.id())), "{run}");
        assert!(run.ends_with("-v /stacks:/stacks -e CLUSTER_HOSTNAME image:1 --host 127.1.2.3"), "{run}");
        assert!(text.contains("CLUSTER_HOSTNAME=weaviate-0 'x'"), "{text}");
        child.kill().unwrap();
        child.wait().unwrap();
        asked(&dir, |text| text.contains(&format!("kill lifeboat-demo-{}", child.id())));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
