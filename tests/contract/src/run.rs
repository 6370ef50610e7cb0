//! Runs the cases, setting by setting, each setting with a server of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use lifeboat_stack::{Functions, Node, Silent, Stack, StackOptions};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::cases::{self, Case};
use crate::expected::{self, Difference, Expectations, Variants};
use crate::mask::once_more;
use crate::proxy::Proxy;
use crate::report::{Line, Report, Verdict, compare};
use crate::server::{Plan, Program};
use crate::store::{Access, Store};
use crate::world::{Config, NotRun, OPERATOR, Own, READER, Setting, World, write_mode};

/// What is held to the contract.
#[derive(Debug, Clone)]
pub enum Target {
    /// The double.
    Double {
        /// The version that it plays.
        plays: String,
        /// Its binary; absent: the local stack builds it.
        binary: Option<PathBuf>,
    },
    /// A binary, which the suite starts.
    Binary(PathBuf),
    /// A server that runs already, empty, with anonymous access; its bucket where it is known.
    Url {
        /// `http://host:port`.
        url: String,
        /// Endpoint, bucket and path of its backups.
        bucket: Option<[String; 3]>,
    },
}

/// A run of the suite.
#[derive(Debug, Clone)]
pub struct Options {
    /// What is held to it.
    pub target: Target,
    /// The configuration.
    pub config: Config,
    /// An S3 endpoint to use in place of the emulator; keys are `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.
    pub s3: Option<String>,
    /// Only cases whose group or name contains this.
    pub only: Option<String>,
    /// Only cases that expect something else of some release or configuration.
    pub varied: bool,
    /// Shown what happens.
    pub say: fn(&str),
}

/// The S3 that the servers of a run use.
struct Ground {
    access: Access,
    _stack: Option<Stack>,
    dir: PathBuf,
}

/// Takes what real servers gave, by their reports, as what is expected; what cases no longer exist is forgotten.
///
/// # Errors
/// When a report is of the double, or a file cannot be read or written.
pub fn take(reports: &[Report]) -> Result<()> {
    let mut expectations = expected::read(&cases::groups())?;
    for report in reports {
        ensure!(report.server == "real", "expectations are taken from real servers only");
        expected::take(&mut expectations, report);
    }
    let all = cases::all();
    for (group, known) in &mut expectations {
        known.retain(|name, _| all.iter().any(|case| case.group == group && case.name == name));
    }
    expected::write(&expectations)
}

/// Compares the outcomes of a report once more: with the expectations as they are now.
///
/// # Errors
/// When a file cannot be read, or the report names a configuration that there is not.
pub fn judge_again(report: &mut Report) -> Result<()> {
    let (expectations, differences) = (expected::read(&cases::groups())?, expected::differences()?);
    let config = Config::named(&report.config).with_context(|| format!("no configuration {}", report.config))?;
    for line in &mut report.cases {
        let Some(seen) = line.outcome.as_ref().map(once_more) else { continue };
        let none = Variants::new();
        let variants = expectations.get(&line.group).and_then(|cases| cases.get(&line.case)).unwrap_or(&none);
        let listed = differences.get(&line.case).filter(|_| report.server == "double");
        (line.verdict, line.reason) = judge(variants, listed, &report.version, config, &seen);
    }
    report.counts = Report::count(&report.cases);
    Ok(())
}

/// Runs every case.
///
/// # Errors
/// When a server cannot be started, or is not what it was taken for. Cases that fail are in the report.
pub async fn run(options: &Options) -> Result<Report> {
    // reqwest wants a provider even for plain HTTP; a second installation is refused, and the first one stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let expectations = expected::read(&cases::groups())?;
    let is_varied = |case: &Case| {
        expectations.get(case.group).and_then(|of| of.get(case.name)).is_some_and(|variants| variants.len() > 1)
    };
    let chosen: Vec<Case> = cases::all()
        .into_iter()
        .filter(|case| {
            let wanted = |text: &String| case.group.contains(text.as_str()) || case.name.contains(text.as_str());
            options.only.as_ref().is_none_or(wanted)
        })
        .filter(|case| !options.varied || is_varied(case))
        .collect();
    let differences = expected::differences()?;
    let ground = Ground::new(options).await?;
    let program = ground.program(options)?;
    let mut settings: Vec<Setting> = chosen.iter().map(|case| case.setting).collect();
    settings.sort_unstable();
    settings.dedup();
    let (mut identity, mut lines) = (None, Vec::new());
    for setting in settings {
        let of: Vec<&Case> = chosen.iter().filter(|case| case.setting == setting).collect();
        let begun = Instant::now();
        match ground.world(options, program.as_ref(), setting).await {
            Ok(world) => {
                let found = identify(&world).await?;
                world.is_version(&found.0);
                check_identity(&found, &options.target)?;
                (options.say)(&format!("{setting:?} is ready after {} ms", begun.elapsed().as_millis()));
                for case in of {
                    let line = one(case, &world, &found.0, options, &expectations, &differences).await;
                    (options.say)(&format!("{:?} {} / {} ({} ms)", line.verdict, line.group, line.case, line.took_ms));
                    lines.push(line);
                }
                identity = Some(found);
            }
            Err(error) if error.is::<NotRun>() => lines.extend(of.into_iter().map(|case| not_run(case, &error))),
            Err(error) => return Err(error.context(format!("the server of {setting:?}"))),
        }
    }
    let (version, git_hash) = identity.context("no case was chosen")?;
    Ok(Report {
        suite: "lifeboat node contract".to_owned(),
        server: if matches!(options.target, Target::Double { .. }) { "double" } else { "real" }.to_owned(),
        version,
        git_hash,
        binary_sha256: program.as_ref().map(|program| sha256(&program.binary)).transpose()?,
        config: options.config.name().to_owned(),
        counts: Report::count(&lines),
        cases: lines,
    })
}

async fn one(
    case: &Case,
    world: &World,
    version: &str,
    options: &Options,
    expectations: &Expectations,
    differences: &BTreeMap<String, Difference>,
) -> Line {
    let begun = Instant::now();
    world.calm();
    let result = (case.run)(world).await;
    world.calm();
    let mut line = Line {
        group: case.group.to_owned(),
        case: case.name.to_owned(),
        verdict: Verdict::Pass,
        outcome: None,
        reason: String::new(),
        took_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
    };
    match result {
        Err(error) if error.is::<NotRun>() => return Line { took_ms: 0, ..not_run(case, &error) },
        Err(error) => {
            world.spoil();
            line.verdict = Verdict::Differ;
            line.reason = format!("{error:#}");
        }
        Ok(seen) => {
            let none = Variants::new();
            let variants = expectations.get(case.group).and_then(|cases| cases.get(case.name)).unwrap_or(&none);
            let listed = differences.get(case.name).filter(|_| matches!(options.target, Target::Double { .. }));
            (line.verdict, line.reason) = judge(variants, listed, version, options.config, &seen);
            line.outcome = Some(seen);
        }
    }
    line
}

fn judge(
    variants: &Variants,
    listed: Option<&Difference>,
    version: &str,
    config: Config,
    seen: &Value,
) -> (Verdict, String) {
    let Some(expected) = expected::resolve(variants, version, config) else {
        return (Verdict::Differ, format!("there is no expectation; seen {seen}"));
    };
    let double = listed.and_then(|listed| Some((listed, expected::resolve(&listed.double, version, config)?)));
    match double {
        None if expected == seen => (Verdict::Pass, String::new()),
        None => (Verdict::Differ, compare(expected, seen)),
        Some((listed, double)) if double == seen => (Verdict::DifferListed, listed.reason.clone()),
        Some((_, double)) => (Verdict::Differ, format!("nor is it as listed: {}", compare(double, seen))),
    }
}

fn not_run(case: &Case, error: &anyhow::Error) -> Line {
    Line {
        group: case.group.to_owned(),
        case: case.name.to_owned(),
        verdict: Verdict::NotRun,
        outcome: None,
        reason: error.to_string(),
        took_ms: 0,
    }
}

/// The server's own version and source revision.
async fn identify(world: &World) -> Result<(String, String)> {
    let nodes = world.ask(Method::GET, "/v1/nodes", None).await?;
    let node = &nodes.json["nodes"][0];
    let text = |name: &str| node[name].as_str().map(str::to_owned).with_context(|| nodes.text.clone());
    Ok((text("version")?, text("gitHash")?))
}

/// The double says what it is, and nothing that says so passes for a real server.
fn check_identity((version, hash): &(String, String), target: &Target) -> Result<()> {
    let says_real = !hash.is_empty() && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    match target {
        Target::Double { plays, .. } => ensure!(!says_real && version == plays, "the double says {version} {hash}"),
        Target::Binary(_) | Target::Url { .. } => {
            ensure!(says_real, "this is no real Weaviate: its gitHash is {hash:?}");
        }
    }
    Ok(())
}

fn sha256(path: &Path) -> Result<String> {
    let mut file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = std::io::Read::read(&mut file, &mut buffer)?;
        if read == 0 {
            return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
        }
        hash.update(&buffer[..read]);
    }
}

const BUCKET: &str = "backups-of-the-contract";

impl Ground {
    async fn new(options: &Options) -> Result<Self> {
        let key = |name: &str| std::env::var(name).unwrap_or_else(|_| "local".to_owned());
        let access =
            |endpoint: String| Access { endpoint, key: key("AWS_ACCESS_KEY_ID"), secret: key("AWS_SECRET_ACCESS_KEY") };
        let dir = lifeboat_stack::target_dir().join(format!("lifeboat-contract-{}", std::process::id()));
        if let Target::Url { bucket, .. } = &options.target {
            let endpoint = bucket.as_ref().map(|[endpoint, ..]| endpoint.clone()).unwrap_or_default();
            return Ok(Self { access: access(endpoint), _stack: None, dir });
        }
        if let Some(endpoint) = &options.s3 {
            return Ok(Self { access: access(endpoint.clone()), _stack: None, dir });
        }
        let node =
            if matches!(options.target, Target::Double { binary: None, .. }) { Node::Double } else { Node::None };
        let stack = Stack::start_empty(
            StackOptions {
                functions: Functions::Given([].into()),
                node,
                name: "node-contract".to_owned(),
                ..StackOptions::default()
            },
            &Silent,
        )
        .await?;
        let dir = stack.dir().join("servers");
        Ok(Self { access: access(stack.endpoint().to_owned()), _stack: Some(stack), dir })
    }

    fn program(&self, options: &Options) -> Result<Option<Program>> {
        match &options.target {
            Target::Double { plays, binary } => {
                let built = self._stack.as_ref().and_then(Stack::node_binary);
                let binary = binary.as_deref().or(built).context("the double was not built")?;
                Ok(Some(Program { binary: binary.to_owned(), is_double: true, plays: plays.clone() }))
            }
            Target::Binary(path) => {
                let binary = path.canonicalize().with_context(|| path.display().to_string())?;
                Ok(Some(Program { binary, is_double: false, plays: String::new() }))
            }
            Target::Url { .. } => Ok(None),
        }
    }

    async fn world(&self, options: &Options, program: Option<&Program>, setting: Setting) -> Result<World> {
        let Some(program) = program else { return self.remote(options, setting).await };
        let prefix = format!("run-{}-{}", std::process::id(), options.config.name());
        let prefix = match setting {
            Setting::Plain => prefix,
            Setting::Keys | Setting::Rbac | Setting::NoBucket | Setting::SmallChunks | Setting::Modes => {
                format!("{prefix}-{setting:?}").to_lowercase()
            }
        };
        let bucket = if setting == Setting::NoBucket { "no-such-bucket" } else { BUCKET };
        let store = Store::new(&self.access, bucket, &prefix);
        if setting != Setting::NoBucket {
            store.make_bucket().await?;
        }
        let proxy = Proxy::start(&self.access.endpoint).await?;
        let dir = self.dir.join(format!("{}-{setting:?}", options.config.name()).to_lowercase());
        std::fs::create_dir_all(&dir)?;
        let mut plan = Plan::new(program, &dir, proxy.address, bucket, &prefix)?;
        configure(&mut plan, setting, options.config)?;
        let process = plan.start().await?;
        let url = format!("http://{}", plan.address);
        let own = Own { plan: Mutex::new(plan), process: tokio::sync::Mutex::new(Some(process)), proxy };
        World::new(options.config, setting, url, Some(own), Some(store), "")
    }

    async fn remote(&self, options: &Options, setting: Setting) -> Result<World> {
        let Target::Url { url, bucket } = &options.target else { bail!("no server") };
        if setting != Setting::Plain {
            return Err(NotRun(format!("{setting:?} needs a server of its own: WEAVIATE_BIN")).into());
        }
        if options.config == Config::ReadOnly {
            bail!("the suite cannot switch the mode of a server that it did not start: use WEAVIATE_BIN");
        }
        let store = bucket.as_ref().map(|[_, name, path]| Store::new(&self.access, name, path));
        let run = std::process::id().to_string();
        let world = World::new(options.config, setting, url.trim_end_matches('/').to_owned(), None, store, &run)?;
        let schema = world.ask(Method::GET, "/v1/schema", None).await?;
        let empty = schema.json["classes"].as_array().is_some_and(Vec::is_empty);
        ensure!(empty, "the suite makes and removes classes: it wants an empty server, not {}", schema.text);
        Ok(world)
    }
}

/// What a setting and a configuration add to the environment.
fn configure(plan: &mut Plan, setting: Setting, config: Config) -> Result<()> {
    let mut set = |name: &str, value: &str| plan.env.insert(name.to_owned(), value.to_owned());
    match setting {
        Setting::Plain | Setting::NoBucket | Setting::Modes => {
            set("AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED", "true");
        }
        Setting::SmallChunks => {
            set("AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED", "true");
            set("BACKUP_MIN_CHUNK_SIZE", "1KiB");
            set("BACKUP_CHUNK_TARGET_SIZE", "2KiB");
            set("LIFEBOAT_NODE_SEGMENT_BYTES", "2000");
        }
        Setting::Keys => {
            set("AUTHENTICATION_APIKEY_ENABLED", "true");
        }
        Setting::Rbac => {
            set("AUTHENTICATION_APIKEY_ENABLED", "true");
            set("AUTHENTICATION_APIKEY_ALLOWED_KEYS", &format!("{OPERATOR},{READER}"));
            set("AUTHENTICATION_APIKEY_USERS", "operator,reader");
            set("AUTHORIZATION_RBAC_ENABLED", "true");
            set("AUTHORIZATION_RBAC_ROOT_USERS", "operator");
        }
    }
    if config == Config::NoGraphql {
        set("DISABLE_GRAPHQL", "true");
    }
    if config == Config::ReadOnly || setting == Setting::Modes {
        let file = plan.dir.join("overrides.yaml");
        write_mode(&file, "ReadWrite")?;
        set("RUNTIME_OVERRIDES_ENABLED", "true");
        set("RUNTIME_OVERRIDES_PATH", &file.display().to_string());
        set("RUNTIME_OVERRIDES_LOAD_INTERVAL", "100ms");
    }
    if setting == Setting::Keys {
        let apikey = json!({"enabled": true, "allowed_keys": [OPERATOR, READER], "users": ["operator", "reader"]});
        let rights = json!({"enabled": true, "users": ["operator"], "read_only_users": ["reader"]});
        let content = json!({"authentication": {"anonymous_access": {"enabled": false}, "apikey": apikey},
            "authorization": {"admin_list": rights}});
        let file = plan.dir.join("keys.json");
        std::fs::write(&file, content.to_string())?;
        plan.args.extend(["--config-file".to_owned(), file.display().to_string()]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_double_is_never_taken_for_a_real_server_nor_a_real_one_for_it() {
        let said = |version: &str, hash: &str| (version.to_owned(), hash.to_owned());
        let real = Target::Binary(PathBuf::new());
        let double = Target::Double { plays: "1.38.11".to_owned(), binary: None };
        assert!(check_identity(&said("1.38.11", "34febe578107"), &real).is_ok());
        assert!(check_identity(&said("1.38.11", "lifeboat-double"), &real).is_err());
        assert!(check_identity(&said("1.38.11", ""), &real).is_err());
        assert!(check_identity(&said("1.38.11", "lifeboat-double"), &double).is_ok());
        assert!(check_identity(&said("1.38.11", "34febe578107"), &double).is_err());
        assert!(check_identity(&said("1.39.0", "lifeboat-double"), &double).is_err(), "it plays what it was told to");
    }
}
