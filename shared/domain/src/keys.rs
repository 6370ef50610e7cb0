//! Every key of the bucket, rendered and parsed in one place (DESIGN §3). Nobody else spells a key.

use std::fmt;

use jiff::Timestamp;

use crate::ids::{BackupId, InstanceId};

/// The prefix under which Weaviate writes (`BACKUP_S3_PATH`), without a slash.
pub const BACKUP_PATH: &str = "backups";

/// The prefix of healed copies, without a slash: a restore is given it as its path, in place of [`BACKUP_PATH`].
pub const HEALED_PATH: &str = "healed";

/// One of the functions, in the spelling of folders, events and requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Function {
    /// Decides whether a backup is owed and asks Weaviate for it.
    CreateBackup,
    /// Reads and hashes every object.
    VerifyChecksums,
    /// Composes the manifest and moves the pointer.
    FlipManifest,
    /// Brings a replacement back and answers the hooks.
    DriveRestore,
    /// Lets go of what the policy no longer asks for.
    PruneBackups,
}

impl Function {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::CreateBackup, Self::VerifyChecksums, Self::FlipManifest, Self::DriveRestore, Self::PruneBackups];

    /// The name as folders and keys have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::CreateBackup => "create-backup",
            Self::VerifyChecksums => "verify-checksums",
            Self::FlipManifest => "flip-manifest",
            Self::DriveRestore => "drive-restore",
            Self::PruneBackups => "prune-backups",
        }
    }

    /// The function of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.name() == name)
    }
}

/// A key in the bucket of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The pointer.
    Pointer,
    /// The staged candidate, which readers of the old runbook know; gives no authority.
    PointerStaged,
    /// Who owns the data.
    Ownership,
    /// What pipelines read.
    Ready,
    /// An object that Weaviate wrote for a backup: its path below `backups/<id>/`.
    BackupObject(BackupId, String),
    /// The copy of an object of a backup that is restored from its copies: its path below `healed/<id>/`.
    HealedObject(BackupId, String),
    /// Counts and canaries, before.
    Expectations(BackupId),
    /// Counts and canaries, after.
    ObservedAfter(BackupId),
    /// The immutable manifest.
    Manifest(BackupId),
    /// The immutable catalogue, one row per object.
    Catalogue(BackupId),
    /// The same digests as `sha256sum -c` reads them.
    Sums(BackupId),
    /// Append-only evidence: its kind (`verify`, `restore`, `hold`, …) and when it was written.
    Evidence(BackupId, String, Timestamp),
    /// A shard of a verification, to be done.
    Shard(BackupId, u32),
    /// The same shard, done.
    Part(BackupId, u32),
    /// How far the re-reading of what is protected has come.
    Fixity,
    /// The open run of a function.
    CurrentRun(Function),
    /// A finished run: S3's date of its record, and its id.
    DoneRun(Function, Timestamp, String),
    /// The attempts of the group.
    RestoreGroup,
    /// What a host probed or reported.
    HostReport(InstanceId),
    /// What a person asks of a function.
    Request(Function, String),
}

fn stamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dt%H%M%Sz").to_string()
}

fn parse_stamp(text: &str) -> Option<Timestamp> {
    let b = text.as_bytes();
    if !text.is_ascii() || b.len() != 18 || b[10] != b't' || b[17] != b'z' {
        return None;
    }
    format!("{}T{}:{}:{}Z", &text[..10], &text[11..13], &text[13..15], &text[15..17]).parse().ok()
}

fn plain(text: &str) -> bool {
    !text.is_empty() && text.len() <= 200 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pointer => f.write_str("latest_weaviate_backup.manifest.json"),
            Self::PointerStaged => f.write_str("latest_weaviate_backup.manifest.json.tmp"),
            Self::Ownership => f.write_str("ownership.json"),
            Self::Ready => f.write_str("status/ready.json"),
            Self::BackupObject(id, path) => write!(f, "{BACKUP_PATH}/{id}/{path}"),
            Self::HealedObject(id, path) => write!(f, "{HEALED_PATH}/{id}/{path}"),
            Self::Expectations(id) => write!(f, "manifests/{id}/expectations.json"),
            Self::ObservedAfter(id) => write!(f, "manifests/{id}/observed-after.json"),
            Self::Manifest(id) => write!(f, "manifests/{id}/manifest.json"),
            Self::Catalogue(id) => write!(f, "manifests/{id}/objects.ndjson"),
            Self::Sums(id) => write!(f, "manifests/{id}/SHA256SUMS"),
            Self::Evidence(id, kind, at) => {
                write!(f, "manifests/{id}/evidence/{kind}-{}.json", stamp(*at))
            }
            Self::Shard(id, n) => write!(f, "work/{id}/shard-{n:05}.json"),
            Self::Part(id, n) => write!(f, "work/{id}/part-{n:05}.json"),
            Self::Fixity => f.write_str("runs/verify-checksums/fixity.json"),
            Self::CurrentRun(function) => write!(f, "runs/{}/current.json", function.name()),
            Self::DoneRun(function, at, id) => {
                write!(f, "runs/{}/done/{}-{id}.json", function.name(), stamp(*at))
            }
            Self::RestoreGroup => f.write_str("runs/restore/group.json"),
            Self::HostReport(instance) => write!(f, "runs/host/{instance}.json"),
            Self::Request(function, id) => write!(f, "requests/{}/{id}.json", function.name()),
        }
    }
}

impl Key {
    /// Parses a key; `None` for one that is not ours. `parse(render(k)) == k` for every key.
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let key = match parts.as_slice() {
            ["latest_weaviate_backup.manifest.json"] => Self::Pointer,
            ["latest_weaviate_backup.manifest.json.tmp"] => Self::PointerStaged,
            ["ownership.json"] => Self::Ownership,
            ["status", "ready.json"] => Self::Ready,
            [BACKUP_PATH, id, rest @ ..] if !rest.is_empty() && !rest.iter().any(|p| p.is_empty()) => {
                Self::BackupObject(BackupId::parse(id).ok()?, rest.join("/"))
            }
            [HEALED_PATH, id, rest @ ..] if !rest.is_empty() && !rest.iter().any(|p| p.is_empty()) => {
                Self::HealedObject(BackupId::parse(id).ok()?, rest.join("/"))
            }
            ["manifests", id, file] => {
                let id = BackupId::parse(id).ok()?;
                match *file {
                    "expectations.json" => Self::Expectations(id),
                    "observed-after.json" => Self::ObservedAfter(id),
                    "manifest.json" => Self::Manifest(id),
                    "objects.ndjson" => Self::Catalogue(id),
                    "SHA256SUMS" => Self::Sums(id),
                    _ => return None,
                }
            }
            ["manifests", id, "evidence", file] => {
                let name = file.strip_suffix(".json")?;
                let (kind, at) = name.split_at_checked(name.len().checked_sub(19)?)?;
                let at = parse_stamp(at.strip_prefix('-')?)?;
                plain(kind).then_some(Self::Evidence(BackupId::parse(id).ok()?, kind.to_owned(), at))?
            }
            ["work", id, file] => {
                let id = BackupId::parse(id).ok()?;
                let (kind, n) = file.strip_suffix(".json")?.split_once('-')?;
                let n = (n.len() == 5).then(|| n.parse().ok())??;
                match kind {
                    "shard" => Self::Shard(id, n),
                    "part" => Self::Part(id, n),
                    _ => return None,
                }
            }
            ["runs", "restore", "group.json"] => Self::RestoreGroup,
            ["runs", "verify-checksums", "fixity.json"] => Self::Fixity,
            ["runs", "host", file] => Self::HostReport(InstanceId::parse(file.strip_suffix(".json")?).ok()?),
            ["runs", function, "current.json"] => Self::CurrentRun(Function::parse(function)?),
            ["runs", function, "done", file] => {
                let (at, id) = file.strip_suffix(".json")?.split_at_checked(18)?;
                let id = id.strip_prefix('-').filter(|id| plain(id))?;
                Self::DoneRun(Function::parse(function)?, parse_stamp(at)?, id.to_owned())
            }
            ["requests", function, file] => {
                let id = file.strip_suffix(".json").filter(|id| plain(id))?;
                Self::Request(Function::parse(function)?, id.to_owned())
            }
            _ => return None,
        };
        (key.to_string() == text).then_some(key)
    }

    /// Weaviate's global descriptor of a backup: the object whose second write says SUCCESS.
    pub fn backup_config(id: &BackupId) -> Self {
        Self::BackupObject(id.clone(), "backup_config.json".to_owned())
    }

    /// The prefix of everything that Weaviate wrote for a backup.
    pub fn backup_prefix(id: &BackupId) -> String {
        format!("{BACKUP_PATH}/{id}/")
    }

    /// The prefix of everything that is on record about a backup.
    pub fn manifest_prefix(id: &BackupId) -> String {
        format!("manifests/{id}/")
    }

    /// The prefix of a backup's evidence.
    pub fn evidence_prefix(id: &BackupId) -> String {
        format!("manifests/{id}/evidence/")
    }

    /// The prefix of a backup's healed copies.
    pub fn healed_prefix(id: &BackupId) -> String {
        format!("{HEALED_PATH}/{id}/")
    }

    /// The prefix of a backup's parts.
    pub fn parts_prefix(id: &BackupId) -> String {
        format!("work/{id}/part-")
    }

    /// The prefix of everything that vouches for a backup.
    pub fn proof_prefix(id: &BackupId) -> String {
        format!("manifests/{id}/")
    }

    /// The prefix of a backup's shards and parts.
    pub fn work_prefix(id: &BackupId) -> String {
        format!("work/{id}/")
    }

    /// The prefix of the requests to a function.
    pub fn requests_prefix(function: Function) -> String {
        format!("requests/{}/", function.name())
    }
}

/// Whether a key of the marker bucket is a success marker: below the prefix and named `_SUCCESS`; gives the dataset,
/// which is the path between the two.
pub fn marker_dataset<'k>(prefix: &str, key: &'k str) -> Option<&'k str> {
    key.strip_prefix(prefix)?.strip_suffix("/_SUCCESS").filter(|dataset| !dataset.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_renders_as_the_design_spells_it_and_parses_back() {
        let id = || BackupId::parse("b_1").unwrap();
        let at: Timestamp = "2026-11-20T01:02:03Z".parse().unwrap();
        for (key, text) in [
            (Key::Pointer, "latest_weaviate_backup.manifest.json"),
            (Key::PointerStaged, "latest_weaviate_backup.manifest.json.tmp"),
            (Key::Ownership, "ownership.json"),
            (Key::Ready, "status/ready.json"),
            (Key::backup_config(&id()), "backups/b_1/backup_config.json"),
            (Key::BackupObject(id(), "n/C/chunk-1".into()), "backups/b_1/n/C/chunk-1"),
            (Key::HealedObject(id(), "n/C/chunk-1".into()), "healed/b_1/n/C/chunk-1"),
            (Key::Fixity, "runs/verify-checksums/fixity.json"),
            (Key::Expectations(id()), "manifests/b_1/expectations.json"),
            (Key::ObservedAfter(id()), "manifests/b_1/observed-after.json"),
            (Key::Manifest(id()), "manifests/b_1/manifest.json"),
            (Key::Catalogue(id()), "manifests/b_1/objects.ndjson"),
            (Key::Sums(id()), "manifests/b_1/SHA256SUMS"),
            (Key::Evidence(id(), "verify".into(), at), "manifests/b_1/evidence/verify-2026-11-20t010203z.json"),
            (Key::Shard(id(), 7), "work/b_1/shard-00007.json"),
            (Key::Part(id(), 7), "work/b_1/part-00007.json"),
            (Key::CurrentRun(Function::CreateBackup), "runs/create-backup/current.json"),
            (
                Key::DoneRun(Function::DriveRestore, at, "i-0a".into()),
                "runs/drive-restore/done/2026-11-20t010203z-i-0a.json",
            ),
            (Key::RestoreGroup, "runs/restore/group.json"),
            (Key::HostReport(InstanceId::parse("i-0a").unwrap()), "runs/host/i-0a.json"),
            (Key::Request(Function::FlipManifest, "r1".into()), "requests/flip-manifest/r1.json"),
        ] {
            assert_eq!(key.to_string(), text);
            assert_eq!(Key::parse(text), Some(key), "{text}");
        }
    }

    #[test]
    fn what_is_not_ours_is_not_a_key() {
        for text in [
            "",
            "backups/b_1/",
            "backups/B/backup_config.json",
            "drills/d/backups/b_1/backup_config.json",
            "work/b_1/shard-7.json",
            "work/b_1/shard-00007.json.tmp",
            "manifests/b_1/other.json",
            "manifests/b_1/evidence/é.json",
            "runs/unknown/current.json",
            "runs/create-backup/done/é2026-11-20t010203z-x.json",
            "requests/flip-manifest/../x.json",
        ] {
            assert_eq!(Key::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_marker_is_named_success_below_the_prefix_and_has_a_dataset() {
        assert_eq!(marker_dataset("indexing/", "indexing/wiki/2026/_SUCCESS"), Some("wiki/2026"));
        for not in ["indexing/_SUCCESS", "other/wiki/_SUCCESS", "indexing/wiki/_SUCCESS.crc", "indexing//_SUCCESSx"] {
            assert_eq!(marker_dataset("indexing/", not), None, "{not}");
        }
    }
}
