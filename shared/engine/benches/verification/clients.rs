//! Runs child processes on their cores and takes the time of each, from its start to its end.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::store::{Set, Shape};

/// Which cores do what.
#[derive(Debug, Clone)]
pub(crate) struct Cores {
    /// The store's.
    pub(crate) store: String,
    /// The clients'.
    pub(crate) clients: String,
}

impl Cores {
    /// With four cores or more each side has half of them; with fewer both share all. `LIFEBOAT_BENCH_CORES=0-1/2-3`
    /// says otherwise: the store's, a slash, the clients'.
    pub(crate) fn of_this_machine() -> Self {
        if let Some((store, clients)) =
            std::env::var("LIFEBOAT_BENCH_CORES").ok().as_deref().and_then(|t| t.split_once('/'))
        {
            return Self { store: store.to_owned(), clients: clients.to_owned() };
        }
        match std::thread::available_parallelism().map_or(1, usize::from) {
            n if n >= 4 => Self { store: format!("0-{}", n / 2 - 1), clients: format!("{}-{}", n / 2, n - 1) },
            n => {
                let all = format!("0-{}", n - 1);
                Self { store: all.clone(), clients: all }
            }
        }
    }
}

/// A store that runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Store {
    child: Child,
    /// Where it listens.
    pub(crate) url: String,
}

impl Store {
    /// A store in a process of its own.
    pub(crate) fn start(cores: &Cores, sets: &[Set], shape: Shape) -> Self {
        let mut command = pinned(&cores.store, std::env::current_exe().expect("this program has a path"));
        let numbers = [shape.latency.as_millis().to_string(), shape.bytes_per_second.to_string()];
        command.arg("serve").args(numbers).args(sets.iter().map(Set::text)).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the store starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut line).expect("the store says where it listens");
        Self { child, url: format!("http://{}", line.trim()) }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a client did.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// From its start to its end.
    pub(crate) seconds: f64,
    /// What it wrote.
    pub(crate) output: String,
}

impl Run {
    /// Its line of JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.output).unwrap_or(Value::Null)
    }
}

/// One or more commands at once, to their ends.
pub(crate) fn time(commands: Vec<Command>) -> Result<Run, String> {
    let begun = Instant::now();
    let spawn = |mut command: Command| command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let children: Vec<Child> = commands.into_iter().map(spawn).collect::<Result<_, _>>().map_err(|e| e.to_string())?;
    let mut output = String::new();
    for child in children {
        let done = child.wait_with_output().map_err(|e| e.to_string())?;
        output.push_str(&String::from_utf8_lossy(&done.stdout));
        if !done.status.success() {
            return Err(format!("{}: {}", done.status, String::from_utf8_lossy(&done.stderr).trim()));
        }
    }
    Ok(Run { seconds: begun.elapsed().as_secs_f64(), output })
}

/// One of our own roles.
pub(crate) fn role(cores: &Cores, url: &str, arguments: &[&str]) -> Command {
    let mut command = pinned(&cores.clients, std::env::current_exe().expect("this program has a path"));
    command.args(arguments);
    with_store(&mut command, url);
    command
}

/// Four curls that drain a set between them: objects in turn, or ranges of the only one.
pub(crate) fn curls(cores: &Cores, url: &str, set: &Set) -> Vec<Command> {
    let scratch = scratch();
    let config = |n: usize| {
        let next =
            |text: &mut String, key: &str| text.push_str(&format!("url = \"{url}/b/{key}\"\noutput = /dev/null\n"));
        let mut text = String::from("silent\nfail\n");
        if set.objects == 1 {
            let quarter = set.size_bytes / 4;
            let last = if n == 3 { set.size_bytes } else { (n as u64 + 1) * quarter } - 1;
            text.push_str(&format!("range = {}-{last}\n", n as u64 * quarter));
            next(&mut text, &set.key(0));
        } else {
            (n..set.objects).step_by(4).for_each(|object| next(&mut text, &set.key(object)));
        }
        text
    };
    let command = |n: usize| {
        let path = scratch.join(format!("curl-{n}"));
        std::fs::write(&path, config(n)).expect("the scratch directory can be written");
        let mut command = pinned(&cores.clients, "curl");
        command.arg("-K").arg(path);
        command
    };
    (0..4).map(command).collect()
}

/// `rclone hashsum`, reading every byte.
pub(crate) fn rclone(cores: &Cores, url: &str, set: &Set) -> Command {
    let mut command = pinned(&cores.clients, "rclone");
    command.args(["hashsum", "sha256", "--download"]).arg(format!(":s3:b/{}", set.prefix));
    command.args(["--s3-provider", "AWS", "--s3-env-auth", "--s3-force-path-style", "--s3-endpoint", url]);
    // Over plain HTTP no authority is asked; this program cannot read one from the environment.
    command.env("RCLONE_CONFIG", scratch().join("none")).env_remove("AWS_CA_BUNDLE");
    with_store(&mut command, url);
    command
}

/// `aws s3 cp - | sha256sum`, one object after another.
pub(crate) fn aws(cores: &Cores, url: &str, set: &Set) -> Command {
    let mut command = pinned(&cores.clients, "bash");
    let line = "for n in $(seq -f %05g 0 $1); do aws s3 cp --quiet s3://b/$0/$n - | sha256sum | cut -d' ' -f1 | sed \"s/\\$/  $n/\" || exit 1; done";
    command.args(["-o", "pipefail", "-c", line, &set.prefix, &(set.objects - 1).to_string()]);
    with_store(&mut command, url);
    command
}

/// What a program says of its version, or `None` when it is not installed.
pub(crate) fn version(program: &str, argument: &str) -> Option<String> {
    let done = Command::new(program).arg(argument).output().ok()?;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let line = text.lines().next().filter(|_| done.status.success())?;
    let words: Vec<&str> = line.split_whitespace().take(2).collect();
    Some(words.join(" "))
}

fn with_store(command: &mut Command, url: &str) {
    command
        .env("AWS_ENDPOINT_URL", url)
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "bench")
        .env("AWS_SECRET_ACCESS_KEY", "bench")
        .env("AWS_EC2_METADATA_DISABLED", "true");
}

fn pinned(cores: &str, program: impl Into<OsString>) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", cores]).arg(program.into());
    command
}

/// A directory for this process's files.
pub(crate) fn scratch() -> PathBuf {
    let path = std::env::temp_dir().join(format!("lifeboat-bench-{}", std::process::id()));
    std::fs::create_dir_all(&path).expect("the directory for temporary files can be written");
    path
}
