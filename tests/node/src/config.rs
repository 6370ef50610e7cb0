//! Command line, environment and configuration file, read as the real server reads them.
//!
//! Refuses to start where the real one does: the S3 module without a bucket, an endpoint with a scheme, keys and
//! users that do not pair up. Variables it does not know are ignored, as the real one ignores them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::auth::Auth;
use crate::config_file;
use crate::knobs::Knobs;
use crate::mode;

/// The real server's flags. Those that have no meaning for a double are accepted and ignored.
#[derive(Debug, Parser)]
#[command(name = "lifeboat-node", about = "A Weaviate node double for tests and demonstrations. Not Weaviate.")]
pub(crate) struct Flags {
    /// IP address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) host: String,
    /// Port of the REST API; 0 picks a free one.
    #[arg(long, default_value_t = 8080)]
    pub(crate) port: u16,
    /// Only http; the real server's https is not played.
    #[arg(long, default_value = "http")]
    pub(crate) scheme: Vec<String>,
    /// YAML or JSON file with settings, of which the API keys are read.
    #[arg(long)]
    pub(crate) config_file: Option<PathBuf>,
    #[arg(long, hide = true)]
    read_timeout: Option<String>,
    #[arg(long, hide = true)]
    write_timeout: Option<String>,
    #[arg(long, hide = true)]
    cleanup_timeout: Option<String>,
    #[arg(long, hide = true)]
    graceful_timeout: Option<String>,
    #[arg(long, hide = true)]
    max_header_size: Option<String>,
    #[arg(long, hide = true)]
    keep_alive: Option<String>,
    #[arg(long, hide = true)]
    listen_limit: Option<String>,
}

/// Where the S3 module keeps backups.
#[derive(Debug, Clone)]
pub(crate) struct S3Settings {
    pub(crate) bucket: String,
    pub(crate) path: String,
    pub(crate) endpoint: String,
    pub(crate) use_ssl: bool,
    pub(crate) region: String,
    /// Access key, secret, session token. Without keys requests are anonymous.
    pub(crate) keys: Option<(String, String, Option<String>)>,
}

/// Chunking and safety of backups.
#[derive(Debug, Clone)]
pub(crate) struct BackupSettings {
    pub(crate) skip_access_check: bool,
    pub(crate) cleanup_unfinished: bool,
    pub(crate) min_chunk: u64,
    pub(crate) target_chunk: u64,
    pub(crate) split: u64,
    pub(crate) max_individual_files: usize,
}

/// Everything that the node was told at start.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) node_name: String,
    pub(crate) data_path: PathBuf,
    pub(crate) s3: Option<S3Settings>,
    pub(crate) filesystem: Option<PathBuf>,
    pub(crate) offload: bool,
    pub(crate) backup: BackupSettings,
    pub(crate) disable_graphql: bool,
    pub(crate) rest_search: bool,
    pub(crate) auto_schema: bool,
    pub(crate) default_limit: usize,
    /// `OPERATIONAL_MODE`; a word that is not a mode is ignored.
    pub(crate) mode: String,
    /// File of runtime overrides and how often it is read.
    pub(crate) overrides: Option<(PathBuf, Duration)>,
}

/// `on`, `enabled`, `1` and `true` are true, in any case; all else is false.
pub(crate) fn truthy(text: &str) -> bool {
    matches!(text.to_lowercase().as_str(), "on" | "enabled" | "1" | "true")
}

impl Config {
    /// Reads the whole configuration, or says why the server would not start.
    pub(crate) fn read(flags: &Flags, env: &BTreeMap<String, String>) -> Result<(Self, Auth, Knobs), String> {
        let get = |name: &str| env.get(name).filter(|value| !value.is_empty()).cloned();
        let on = |name: &str| env.get(name).is_some_and(|value| truthy(value));
        let knobs = Knobs::from_env(env)?;
        if flags.scheme.iter().any(|scheme| scheme != "http") {
            return Err("only --scheme http is played by this double".to_owned());
        }
        let modules: Vec<String> = get("ENABLE_MODULES")
            .map(|list| list.split(',').map(|module| module.trim().to_owned()).collect())
            .unwrap_or_default();
        for module in &modules {
            if !matches!(module.as_str(), "backup-s3" | "backup-filesystem" | "offload-s3" | "") {
                eprintln!("lifeboat-node: module {module} is not played by this double and is ignored");
            }
        }
        let enabled = |name: &str| modules.iter().any(|module| module == name);
        let file = match &flags.config_file {
            Some(path) => config_file::read(path)?,
            None => serde_json::Value::Null,
        };
        let auth = Auth::read(env, &file, &knobs)?;
        let config = Self {
            node_name: match get("CLUSTER_HOSTNAME") {
                Some(name) => name,
                None => host_name()?,
            },
            data_path: PathBuf::from(get("PERSISTENCE_DATA_PATH").unwrap_or_else(|| "./data".to_owned())),
            s3: if enabled("backup-s3") { Some(s3_settings(&get, env)?) } else { None },
            filesystem: if enabled("backup-filesystem") { Some(filesystem_path(&get)?) } else { None },
            offload: enabled("offload-s3"),
            backup: BackupSettings {
                skip_access_check: on("BACKUP_SKIP_ACCESS_CHECK") && knobs.version.skips_access_check(),
                cleanup_unfinished: on("ENABLE_CLEANUP_UNFINISHED_BACKUPS"),
                min_chunk: bytes(get("BACKUP_MIN_CHUNK_SIZE"), 1 << 20, "BACKUP_MIN_CHUNK_SIZE")?,
                target_chunk: bytes(get("BACKUP_CHUNK_TARGET_SIZE"), 10 << 20, "BACKUP_CHUNK_TARGET_SIZE")?,
                split: bytes(get("BACKUP_SPLIT_FILE_SIZE"), 50 << 30, "BACKUP_SPLIT_FILE_SIZE")?,
                max_individual_files: match get("BACKUP_MAX_INDIVIDUAL_FILES") {
                    None => 100,
                    Some(text) => {
                        text.parse().map_err(|_| format!("parse BACKUP_MAX_INDIVIDUAL_FILES as int: {text:?}"))?
                    }
                },
            },
            disable_graphql: on("DISABLE_GRAPHQL"),
            rest_search: match env.get("EXPERIMENTAL_REST_SEARCH_ENABLED") {
                Some(value) => truthy(value),
                None => knobs.version.rest_search_by_default(),
            },
            auto_schema: env.get("AUTOSCHEMA_ENABLED").is_none_or(|value| value.to_lowercase() != "false"),
            default_limit: match get("QUERY_DEFAULTS_LIMIT") {
                None => 10,
                Some(text) => text.parse().map_err(|_| format!("parse QUERY_DEFAULTS_LIMIT as int: {text:?}"))?,
            },
            mode: get("OPERATIONAL_MODE")
                .filter(|text| mode::is_mode(text))
                .unwrap_or_else(|| mode::READ_WRITE.to_owned()),
            overrides: if on("RUNTIME_OVERRIDES_ENABLED") { Some(overrides(&get)?) } else { None },
        };
        Ok((config, auth, knobs))
    }
}

fn s3_settings(get: &dyn Fn(&str) -> Option<String>, env: &BTreeMap<String, String>) -> Result<S3Settings, String> {
    let bucket = get("BACKUP_S3_BUCKET").ok_or("init module backup-s3: backup init: 'BACKUP_S3_BUCKET' must be set")?;
    let endpoint = get("BACKUP_S3_ENDPOINT").unwrap_or_else(|| "s3.amazonaws.com".to_owned());
    if endpoint.contains("://") {
        return Err(format!(
            "init module backup-s3: initialize S3 backup module: Endpoint: {endpoint} does not follow ip address or domain name standards."
        ));
    }
    let key = get("AWS_ACCESS_KEY_ID").or_else(|| get("AWS_ACCESS_KEY"));
    let secret = get("AWS_SECRET_ACCESS_KEY").or_else(|| get("AWS_SECRET_KEY"));
    Ok(S3Settings {
        bucket,
        path: get("BACKUP_S3_PATH").unwrap_or_default(),
        endpoint,
        use_ssl: env.get("BACKUP_S3_USE_SSL").is_none_or(|value| value.to_lowercase() != "false"),
        region: get("AWS_REGION").or_else(|| get("AWS_DEFAULT_REGION")).unwrap_or_else(|| "us-east-1".to_owned()),
        keys: key.zip(secret).map(|(key, secret)| (key, secret, get("AWS_SESSION_TOKEN"))),
    })
}

fn host_name() -> Result<String, String> {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| {
            let output = std::process::Command::new("hostname").output()?;
            String::from_utf8(output.stdout).map_err(std::io::Error::other)
        })
        .map(|name| name.trim().to_owned())
        .map_err(|error| format!("no CLUSTER_HOSTNAME, and no host name: {error}"))
}

fn filesystem_path(get: &dyn Fn(&str) -> Option<String>) -> Result<PathBuf, String> {
    let path = PathBuf::from(
        get("BACKUP_FILESYSTEM_PATH").ok_or("init module backup-filesystem: empty backup path provided")?,
    );
    if !path.is_absolute() {
        return Err("init module backup-filesystem: relative backup path provided".to_owned());
    }
    Ok(path)
}

fn overrides(get: &dyn Fn(&str) -> Option<String>) -> Result<(PathBuf, Duration), String> {
    let path = get("RUNTIME_OVERRIDES_PATH").unwrap_or_else(|| "./config.yaml".to_owned());
    let every = match get("RUNTIME_OVERRIDES_LOAD_INTERVAL") {
        None => Duration::from_secs(120),
        Some(text) => duration(&text)
            .ok_or_else(|| format!("parse RUNTIME_OVERRIDES_LOAD_INTERVAL as time.Duration: {text:?}"))?,
    };
    Ok((PathBuf::from(path), every))
}

/// Go's durations, whole numbers of one or several units: `1m30s`, `500ms`.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit_end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        total += match &rest[..unit_end] {
            "ms" => Duration::from_millis(count),
            "s" => Duration::from_secs(count),
            "m" => Duration::from_secs(count * 60),
            "h" => Duration::from_secs(count * 3600),
            _ => return None,
        };
        rest = &rest[unit_end..];
    }
    (!text.is_empty()).then_some(total)
}

/// Byte counts with the case-sensitive units `B KB MB GB TB KiB MiB GiB TiB`, or `unlimited`.
fn bytes(text: Option<String>, default: u64, name: &str) -> Result<u64, String> {
    let Some(text) = text else { return Ok(default) };
    if text == "unlimited" || text == "nolimit" {
        return Ok(u64::MAX);
    }
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit: u64 = match text[digits..].trim() {
        "" | "B" => 1,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        other => return Err(format!("parse {name}: unknown unit {other:?}")),
    };
    text[..digits]
        .parse::<u64>()
        .ok()
        .and_then(|count| count.checked_mul(unit))
        .ok_or_else(|| format!("parse {name}: {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_true_only_for_the_four_words() {
        assert!(["on", "ON", "enabled", "1", "true"].iter().all(|word| truthy(word)));
        assert!(["", "yes", "y", "0", "false", "off", "t"].iter().all(|word| !truthy(word)));
    }

    #[test]
    fn units_are_case_sensitive() {
        let read = |text: &str| bytes(Some(text.to_owned()), 0, "X");
        assert_eq!(read("256MiB"), Ok(256 << 20));
        assert_eq!(read("2MB"), Ok(2_000_000));
        assert_eq!(read("unlimited"), Ok(u64::MAX));
        assert!(read("256mib").is_err());
    }

    #[test]
    fn durations_are_read_as_go_reads_them() {
        assert_eq!(duration("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("5"), None);
        assert_eq!(duration(""), None);
    }
}
