//! Settings of the functions: the only home of environment names and of defaults.
//!
//! Read once, at cold start, from an injected map; every value is validated; one error lists every problem and names
//! each variable. Each function has a struct of just what it uses. Secrets are here by the name of their parameter
//! only.

mod reader;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use lifeboat_domain::verify::plan::Limits;
use lifeboat_domain::verify::{EtagMeaning, fixity};
use reader::Reader;
pub use reader::{InvalidSettings, Problem};

use crate::aws::{AddressDocuments, HostDocuments};

/// The cluster's name, as `ownership.json` and the pointer have it.
pub const CLUSTER: &str = "LIFEBOAT_CLUSTER";
/// The bucket of the cluster: backups, manifests, pointer.
pub const BUCKET: &str = "LIFEBOAT_BUCKET";
/// The bucket that indexing runs write their success markers to.
pub const MARKER_BUCKET: &str = "LIFEBOAT_MARKER_BUCKET";
/// The prefix of the success markers, with its final slash.
pub const MARKER_PREFIX: &str = "LIFEBOAT_MARKER_PREFIX";
/// The Auto Scaling group's name.
pub const GROUP: &str = "LIFEBOAT_GROUP";
/// The launch hook's name.
pub const LAUNCH_HOOK: &str = "LIFEBOAT_LAUNCH_HOOK";
/// The terminate hook's name.
pub const TERMINATE_HOOK: &str = "LIFEBOAT_TERMINATE_HOOK";
/// The fixed private IPv4 address.
pub const FIXED_ADDRESS: &str = "LIFEBOAT_FIXED_ADDRESS";
/// The interface's security group that admits readers.
pub const READER_GROUP: &str = "LIFEBOAT_READER_GROUP";
/// The interface's security group that admits writers.
pub const WRITER_GROUP: &str = "LIFEBOAT_WRITER_GROUP";
/// The name of the SSM parameter that holds the operator's API key.
pub const OPERATOR_KEY: &str = "LIFEBOAT_OPERATOR_KEY";
/// The Command document that prepares a host.
pub const PREPARE_DOCUMENT: &str = "LIFEBOAT_PREPARE_DOCUMENT";
/// The Command document that probes a host.
pub const PROBE_DOCUMENT: &str = "LIFEBOAT_PROBE_DOCUMENT";
/// The Command document that tends a running host.
pub const TEND_DOCUMENT: &str = "LIFEBOAT_TEND_DOCUMENT";
/// The Automation document that opens the address to writers, or to readers alone.
pub const WRITERS_DOCUMENT: &str = "LIFEBOAT_WRITERS_DOCUMENT";
/// The Automation document that reads where the address is.
pub const READ_ADDRESS_DOCUMENT: &str = "LIFEBOAT_READ_ADDRESS_DOCUMENT";
/// The Automation document that moves the address.
pub const MOVE_ADDRESS_DOCUMENT: &str = "LIFEBOAT_MOVE_ADDRESS_DOCUMENT";
/// `yes` lets a proven first start be empty; default `no`.
pub const ALLOW_EMPTY_START: &str = "LIFEBOAT_ALLOW_EMPTY_START";
/// `no` forbids that an older published backup is restored in place of one that cannot be; default `yes`.
pub const RESTORE_FALL_BACK: &str = "LIFEBOAT_RESTORE_FALL_BACK";
/// `no` says that ETags in the bucket are no digests of the bytes, as under SSE-KMS; default `yes`.
pub const ETAGS_ARE_MD5: &str = "LIFEBOAT_ETAGS_ARE_MD5";
/// MiB that an invocation surely reads and hashes in a second; default 50.
pub const VERIFY_RATE_MIB: &str = "LIFEBOAT_VERIFY_RATE_MIB";
/// Days within which everything that is protected is read again; default 30, 0 for never.
pub const FIXITY_PERIOD_DAYS: &str = "LIFEBOAT_FIXITY_PERIOD_DAYS";
/// Minutes between two scheduled backups; default 60.
pub const BACKUP_INTERVAL_MINUTES: &str = "LIFEBOAT_BACKUP_INTERVAL_MINUTES";
/// Minutes that a replacement waits for its predecessor's final backup; default 120.
pub const PREDECESSOR_DEADLINE_MINUTES: &str = "LIFEBOAT_PREDECESSOR_DEADLINE_MINUTES";
/// Milliseconds between two looks at what is in flight; default 2,000.
pub const POLL_INTERVAL_MS: &str = "LIFEBOAT_POLL_INTERVAL_MS";
/// Minutes after which a backup without an end is stuck; default 30.
pub const STALL_MINUTES: &str = "LIFEBOAT_STALL_MINUTES";
/// How many of the newest published backups are kept; default 7.
pub const KEEP_LAST: &str = "LIFEBOAT_KEEP_LAST";
/// Of how many days the newest published backup is kept; default 7.
pub const KEEP_DAILY: &str = "LIFEBOAT_KEEP_DAILY";
/// Of how many weeks; default 5.
pub const KEEP_WEEKLY: &str = "LIFEBOAT_KEEP_WEEKLY";
/// Of how many months; default 12.
pub const KEEP_MONTHLY: &str = "LIFEBOAT_KEEP_MONTHLY";
/// How many published backups are always left; default 2.
pub const KEEP_PUBLISHED_MIN: &str = "LIFEBOAT_KEEP_PUBLISHED_MIN";
/// Hours that a tombstone stands before anything is deleted; default 24.
pub const PRUNE_GRACE_HOURS: &str = "LIFEBOAT_PRUNE_GRACE_HOURS";
/// Days that manifest and evidence outlive the data of a backup; default 400.
pub const EVIDENCE_RETENTION_DAYS: &str = "LIFEBOAT_EVIDENCE_RETENTION_DAYS";
/// How much is logged, by AWS's own name for it: `debug`, `info`, `warn` or `error`; default `info`.
pub const LOG_LEVEL: &str = "AWS_LAMBDA_LOG_LEVEL";

/// Settings that a function can be given.
pub trait FromVariables: Sized {
    /// The settings of these variables, or every problem with them.
    fn from_map(variables: &BTreeMap<String, String>) -> Result<Self, InvalidSettings>;
}

/// The settings of the process's environment. For cold starts only: whatever runs later is given its settings.
pub fn from_environment<T: FromVariables>() -> Result<T, InvalidSettings> {
    T::from_map(&variables_of_the_environment())
}

/// The environment's variables that are texts.
pub fn variables_of_the_environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Where success markers are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Markers {
    /// Their bucket.
    pub bucket: String,
    /// Their prefix, with its final slash.
    pub prefix: String,
}

/// The lifecycle hooks of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookNames {
    /// The launch hook.
    pub launch: String,
    /// The terminate hook.
    pub terminate: String,
}

/// The fixed address and what it must carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FixedAddress {
    /// The address.
    pub address: Ipv4Addr,
    /// The security group that admits readers.
    pub reader_group: String,
    /// The security group that admits writers.
    pub writer_group: String,
}

/// What `create-backup` is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateBackupSettings {
    /// [`BUCKET`].
    pub bucket: String,
    /// [`MARKER_BUCKET`], [`MARKER_PREFIX`].
    pub markers: Markers,
    /// [`GROUP`].
    pub group: String,
    /// [`OPERATOR_KEY`].
    pub operator_key: String,
    /// [`READER_GROUP`].
    pub reader_group: String,
    /// [`WRITER_GROUP`].
    pub writer_group: String,
    /// [`TEND_DOCUMENT`], the only one that it sends.
    pub hosts: HostDocuments,
    /// [`READ_ADDRESS_DOCUMENT`] and [`WRITERS_DOCUMENT`], the only ones that it starts.
    pub addresses: AddressDocuments,
    /// [`BACKUP_INTERVAL_MINUTES`].
    pub backup_interval: Duration,
    /// [`STALL_MINUTES`].
    pub stall: Duration,
    /// [`POLL_INTERVAL_MS`].
    pub poll: Duration,
}

/// What `verify-checksums` is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyChecksumsSettings {
    /// [`BUCKET`].
    pub bucket: String,
    /// [`ETAGS_ARE_MD5`].
    pub etags: EtagMeaning,
    /// [`VERIFY_RATE_MIB`].
    pub limits: Limits,
    /// [`FIXITY_PERIOD_DAYS`].
    pub fixity: fixity::Policy,
    /// [`POLL_INTERVAL_MS`].
    pub poll: Duration,
}

/// What `flip-manifest` is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlipManifestSettings {
    /// [`CLUSTER`].
    pub cluster: String,
    /// [`BUCKET`].
    pub bucket: String,
    /// [`GROUP`], which a manifest records.
    pub group: String,
    /// [`POLL_INTERVAL_MS`].
    pub poll: Duration,
}

/// What `drive-restore` is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriveRestoreSettings {
    /// [`CLUSTER`].
    pub cluster: String,
    /// [`BUCKET`].
    pub bucket: String,
    /// [`MARKER_BUCKET`], [`MARKER_PREFIX`].
    pub markers: Markers,
    /// [`GROUP`].
    pub group: String,
    /// [`LAUNCH_HOOK`], [`TERMINATE_HOOK`].
    pub hooks: HookNames,
    /// [`FIXED_ADDRESS`] and what its interface carries.
    pub address: FixedAddress,
    /// [`OPERATOR_KEY`].
    pub operator_key: String,
    /// [`PREPARE_DOCUMENT`] and [`PROBE_DOCUMENT`], the only ones that it sends.
    pub hosts: HostDocuments,
    /// [`READ_ADDRESS_DOCUMENT`] and [`MOVE_ADDRESS_DOCUMENT`], the only ones that it starts.
    pub addresses: AddressDocuments,
    /// [`ALLOW_EMPTY_START`].
    pub allow_empty_start: bool,
    /// [`RESTORE_FALL_BACK`].
    pub fall_back: bool,
    /// [`PREDECESSOR_DEADLINE_MINUTES`].
    pub predecessor_deadline: Duration,
    /// [`POLL_INTERVAL_MS`].
    pub poll: Duration,
}

impl FromVariables for CreateBackupSettings {
    fn from_map(variables: &BTreeMap<String, String>) -> Result<Self, InvalidSettings> {
        let mut r = Reader::new(variables);
        let settings = Self {
            bucket: bucket(&mut r, BUCKET),
            markers: markers(&mut r),
            group: group(&mut r),
            operator_key: operator_key(&mut r),
            reader_group: security_group(&mut r, READER_GROUP),
            writer_group: security_group(&mut r, WRITER_GROUP),
            hosts: HostDocuments { tend: document(&mut r, TEND_DOCUMENT), ..HostDocuments::default() },
            addresses: AddressDocuments {
                read: document(&mut r, READ_ADDRESS_DOCUMENT),
                writers: document(&mut r, WRITERS_DOCUMENT),
                ..AddressDocuments::default()
            },
            backup_interval: minutes(&mut r, BACKUP_INTERVAL_MINUTES, 60),
            stall: minutes(&mut r, STALL_MINUTES, 30),
            poll: poll(&mut r),
        };
        r.finish(settings)
    }
}

/// What `prune-backups` is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PruneBackupsSettings {
    /// [`BUCKET`].
    pub bucket: String,
    /// [`KEEP_LAST`] and the others.
    pub retention: lifeboat_domain::retention::Policy,
    /// [`POLL_INTERVAL_MS`].
    pub poll: Duration,
}

impl FromVariables for PruneBackupsSettings {
    fn from_map(variables: &BTreeMap<String, String>) -> Result<Self, InvalidSettings> {
        let mut r = Reader::new(variables);
        let default = lifeboat_domain::retention::Policy::default();
        let settings = Self {
            bucket: bucket(&mut r, BUCKET),
            retention: lifeboat_domain::retention::Policy {
                last: r.number(KEEP_LAST, "a whole number from 1 to 1000", default.last, 1..=1_000),
                daily: r.number(KEEP_DAILY, "a whole number from 0 to 1000", default.daily, 0..=1_000),
                weekly: r.number(KEEP_WEEKLY, "a whole number from 0 to 1000", default.weekly, 0..=1_000),
                monthly: r.number(KEEP_MONTHLY, "a whole number from 0 to 1000", default.monthly, 0..=1_000),
                published_min: r.number(
                    KEEP_PUBLISHED_MIN,
                    "a whole number from 1 to 1000",
                    default.published_min,
                    1..=1_000,
                ),
                grace: hours(r.number(PRUNE_GRACE_HOURS, "whole hours from 1 to 720", 24, 1..=720)),
                evidence: hours(24 * r.number(EVIDENCE_RETENTION_DAYS, "whole days from 1 to 10000", 400, 1..=10_000)),
                ..default
            },
            poll: poll(&mut r),
        };
        r.finish(settings)
    }
}

fn hours(hours: u32) -> Duration {
    Duration::from_secs(u64::from(hours) * 3_600)
}

impl FromVariables for VerifyChecksumsSettings {
    fn from_map(variables: &BTreeMap<String, String>) -> Result<Self, InvalidSettings> {
        let mut r = Reader::new(variables);
        let settings = Self {
            bucket: bucket(&mut r, BUCKET),
            etags: if r.yes_or_no(ETAGS_ARE_MD5, true) { EtagMeaning::Md5 } else { EtagMeaning::Opaque },
            limits: Limits {
                rate_bytes_per_second: u64::from(r.number(VERIFY_RATE_MIB, "whole MiB from 1 to 1000", 50, 1..=1_000))
                    << 20,
                ..Limits::default()
            },
            fixity: fixity::Policy {
                period: hours(24 * r.number(FIXITY_PERIOD_DAYS, "whole days from 0 to 3650", 30, 0..=3_650)),
                ..fixity::Policy::default()
            },
            poll: poll(&mut r),
        };
        r.finish(settings)
    }
}

impl FromVariables for FlipManifestSettings {
    fn from_map(variables: &BTreeMap<String, String>) -> Result<Self, InvalidSettings> {
        let mut r = Reader::new(variables);
        let settings =
            Self { cluster: cluster(&mut r), bucket: bucket(&mut r, BUCKET), group: group(&mut r), poll: poll(&mut r) };
        r.finish(settings)
    }
}

impl FromVariables for DriveRestoreSettings {
    fn from_map(variables: &BTreeMap<String, String>) -> Result<Self, InvalidSettings> {
        let mut r = Reader::new(variables);
        let settings = Self {
            cluster: cluster(&mut r),
            bucket: bucket(&mut r, BUCKET),
            markers: markers(&mut r),
            group: group(&mut r),
            hooks: hooks(&mut r),
            address: fixed_address(&mut r),
            operator_key: operator_key(&mut r),
            hosts: HostDocuments {
                prepare: document(&mut r, PREPARE_DOCUMENT),
                probe: document(&mut r, PROBE_DOCUMENT),
                ..HostDocuments::default()
            },
            addresses: AddressDocuments {
                read: document(&mut r, READ_ADDRESS_DOCUMENT),
                move_to: document(&mut r, MOVE_ADDRESS_DOCUMENT),
                ..AddressDocuments::default()
            },
            allow_empty_start: r.yes_or_no(ALLOW_EMPTY_START, false),
            fall_back: r.yes_or_no(RESTORE_FALL_BACK, true),
            predecessor_deadline: minutes(&mut r, PREDECESSOR_DEADLINE_MINUTES, 120),
            poll: poll(&mut r),
        };
        r.finish(settings)
    }
}

fn cluster(r: &mut Reader<'_>) -> String {
    r.text(CLUSTER, "1 to 64 letters, digits, '-' or '_'", |t| (1..=64).contains(&t.len()) && all(t, "-_"))
}

fn bucket(r: &mut Reader<'_>, name: &'static str) -> String {
    r.text(name, "a bucket's name: 3 to 63 lower-case letters, digits, '-' or '.'", |t| {
        (3..=63).contains(&t.len()) && all(t, "-.") && !t.bytes().any(|b| b.is_ascii_uppercase())
    })
}

fn markers(r: &mut Reader<'_>) -> Markers {
    Markers {
        bucket: bucket(r, MARKER_BUCKET),
        prefix: r.text(MARKER_PREFIX, "a key prefix that ends with '/' and does not start with it", |t| {
            t.ends_with('/') && !t.starts_with('/') && t.len() <= 512
        }),
    }
}

fn group(r: &mut Reader<'_>) -> String {
    r.text(GROUP, "an Auto Scaling group's name: 1 to 255 characters, none of them ':'", |t| {
        (1..=255).contains(&t.len()) && !t.contains(':') && t.chars().all(|c| !c.is_control())
    })
}

fn hook(r: &mut Reader<'_>, name: &'static str) -> String {
    r.text(name, "a lifecycle hook's name: 1 to 255 letters, digits, '-', '_' or '/'", |t| {
        (1..=255).contains(&t.len()) && all(t, "-_/")
    })
}

fn hooks(r: &mut Reader<'_>) -> HookNames {
    HookNames { launch: hook(r, LAUNCH_HOOK), terminate: hook(r, TERMINATE_HOOK) }
}

fn fixed_address(r: &mut Reader<'_>) -> FixedAddress {
    FixedAddress {
        address: r.parsed(FIXED_ADDRESS, "an IPv4 address", Ipv4Addr::UNSPECIFIED, |t| t.parse().ok()),
        reader_group: security_group(r, READER_GROUP),
        writer_group: security_group(r, WRITER_GROUP),
    }
}

fn security_group(r: &mut Reader<'_>, name: &'static str) -> String {
    r.text(name, "a security group's id, 'sg-…'", |t| aws_id(t, "sg-"))
}

fn operator_key(r: &mut Reader<'_>) -> String {
    let rule = "the name (never the value) of an SSM parameter, starting with '/'; \
                /aws/reference/secretsmanager/NAME reads a Secrets Manager secret";
    r.unshown_text(OPERATOR_KEY, rule, |t| t.starts_with('/') && (2..=1024).contains(&t.len()) && all(t, "/_.-+=@"))
}

fn document(r: &mut Reader<'_>, name: &'static str) -> String {
    r.text(name, "an SSM document's name: 3 to 128 letters, digits, '-', '_' or '.'", |t| {
        (3..=128).contains(&t.len()) && all(t, "-_.")
    })
}

fn minutes(r: &mut Reader<'_>, name: &'static str, default: u32) -> Duration {
    let minutes = r.number(name, "whole minutes from 1 to 10080", default, 1..=10_080);
    Duration::from_secs(u64::from(minutes) * 60)
}

fn poll(r: &mut Reader<'_>) -> Duration {
    let ms = r.number(POLL_INTERVAL_MS, "whole milliseconds from 10 to 60000", 2_000, 10..=60_000);
    Duration::from_millis(u64::from(ms))
}

fn all(text: &str, others: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c))
}

fn aws_id(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|h| (1..=32).contains(&h.len()) && h.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests;
