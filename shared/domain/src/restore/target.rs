//! Whether a started node can take the restore.

use std::collections::BTreeMap;

use crate::manifest::Requirements;
use crate::weaviate::ServerVersion;

use super::Refusal;

/// What the started node shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its collections.
    pub collections: Vec<String>,
    /// Its aliases.
    pub aliases: BTreeMap<String, String>,
    /// Its node names.
    pub node_names: Vec<String>,
    /// Its version.
    pub version: String,
    /// Free bytes on its data volume, as the host reported.
    pub free_bytes: u64,
    /// Whether the backup module is on.
    pub backup_module: bool,
}

/// Whether the node can take it: empty, the same node name, not older than the backup, enough disk (DESIGN §6 step 4).
pub fn check(target: &Target, needs: &Requirements, disk_margin_percent: u64) -> Result<(), Refusal> {
    let unfit = |why: String| Err(Refusal::TargetUnfit { why });
    if !target.backup_module {
        return unfit("module backup-s3 is not enabled".into());
    }
    if let Some(first) = target.collections.first() {
        return unfit(format!("it is not empty: collection {first} exists; Weaviate restores over nothing"));
    }
    if let Some((alias, _)) = target.aliases.first_key_value() {
        return unfit(format!("it is not empty: alias {alias} exists"));
    }
    if !target.node_names.contains(&needs.node_name) {
        return unfit(format!(
            "the backup is of node {}, the target has {:?}; set NodeName to the backup's",
            needs.node_name, target.node_names
        ));
    }
    match (ServerVersion::parse(&target.version), ServerVersion::parse(&needs.weaviate_version_min)) {
        (Some(have), Some(need)) if have >= need => {}
        _ => {
            return unfit(format!(
                "the backup was taken with Weaviate {}, the target runs {}; an older or unknown version may lose data",
                needs.weaviate_version_min, target.version
            ));
        }
    }
    let wanted = u128::from(needs.uncompressed_size_bytes) * u128::from(disk_margin_percent) / 100;
    if u128::from(target.free_bytes) < wanted {
        return unfit(format!(
            "the restore needs {wanted} bytes free, the data volume has {}; use a larger instance type",
            target.free_bytes
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit() -> (Target, Requirements) {
        let target = Target {
            collections: vec![],
            aliases: BTreeMap::new(),
            node_names: vec!["weaviate-0".into()],
            version: "1.38.11".into(),
            free_bytes: 1200,
            backup_module: true,
        };
        let needs = Requirements {
            node_name: "weaviate-0".into(),
            weaviate_version_min: "1.38.11".into(),
            uncompressed_size_bytes: 1000,
        };
        (target, needs)
    }

    #[test]
    fn a_fit_target_is_taken_and_each_unfitness_is_named() {
        let (good, needs) = fit();
        assert_eq!(check(&good, &needs, 120), Ok(()));
        type Spoil = fn(&mut Target);
        let cases: [(&str, Spoil); 7] = [
            ("backup-s3", |t| t.backup_module = false),
            ("collection X", |t| t.collections = vec!["X".into()]),
            ("alias A", |t| t.aliases = [("A".into(), "X".into())].into()),
            ("set NodeName", |t| t.node_names = vec!["other".into()]),
            ("an older", |t| t.version = "1.38.9".into()),
            ("unknown version", |t| t.version = "nightly".into()),
            ("needs 1200 bytes", |t| t.free_bytes = 1199),
        ];
        for (says, spoil) in cases {
            let (mut target, needs) = fit();
            spoil(&mut target);
            let error = check(&target, &needs, 120).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
