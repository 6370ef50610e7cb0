//! What is changed, and how.

use lifeboat_domain::keys::Key;

use crate::cluster::Cluster;
use crate::reseal;

/// How a stored thing is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// The lowest bit of the first byte.
    FlippedAtTheStart,
    /// Of the one in the middle.
    FlippedInTheMiddle,
    /// Of the last.
    FlippedAtTheEnd,
    /// The last byte is gone.
    Truncated,
    /// A byte more: a space, which JSON does not mind.
    Extended,
    /// The bytes of another thing of its kind.
    Swapped,
    /// A delete marker, or gone where there are no versions.
    Deleted,
    /// A copy under a name that nothing asks for.
    Duplicated,
    /// The bytes of an older one: its own older version, or that of the older backup.
    Older,
}

impl How {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::FlippedAtTheStart,
        Self::FlippedInTheMiddle,
        Self::FlippedAtTheEnd,
        Self::Truncated,
        Self::Extended,
        Self::Swapped,
        Self::Deleted,
        Self::Duplicated,
        Self::Older,
    ];

    /// The bytes after the change; none when the thing is gone, or stays and something is beside it.
    pub fn of(self, bytes: &[u8], other: &[u8], older: &[u8]) -> Option<Vec<u8>> {
        let mut changed = bytes.to_vec();
        let flip = |at: usize| {
            let mut changed = bytes.to_vec();
            changed[at] ^= 1;
            Some(changed)
        };
        match self {
            Self::FlippedAtTheStart => flip(0),
            Self::FlippedInTheMiddle => flip(bytes.len() / 2),
            Self::FlippedAtTheEnd => flip(bytes.len() - 1),
            Self::Truncated => {
                changed.pop();
                Some(changed)
            }
            Self::Extended => {
                changed.push(b' ');
                Some(changed)
            }
            Self::Swapped => Some(other.to_vec()),
            Self::Older => Some(older.to_vec()),
            Self::Deleted | Self::Duplicated => None,
        }
    }
}

/// Who makes the change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Manner {
    /// The disk: the bytes of the stored version change, nothing else does.
    AtRest,
    /// A writer: a new version.
    Written,
    /// A writer who recomputes every digest above it, and leaves the older versions where they are.
    Resealed,
    /// The same, who erases the older versions too. No role of the template may.
    ResealedErased,
}

/// When the change is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    /// The backup is finished and observed, nothing is verified.
    BeforeVerification,
    /// The shards are planned, nothing is read.
    AfterPlanning,
    /// The parts are written, nothing is folded.
    AfterReading,
    /// The pointer names the backup.
    AfterPublication,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key, with `<id>` for the backup.
    pub key: String,
    /// How.
    pub how: How,
    /// By whom.
    pub manner: Manner,
    /// When.
    pub when: When,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}, {:?}, {:?}", self.key, self.how, self.manner, self.when)
    }
}

/// Objects of the sample backup: both descriptors, and a chunk of each kind of collection.
const OBJECTS: [&str; 5] = [
    "backup_config.json",
    "weaviate-0/backup.json",
    "weaviate-0/Article/chunk-1",
    "weaviate-0/Note/chunk-1",
    "weaviate-0/Tenanted/chunk-2",
];

/// Every change: objects and documents, in every way, by everybody, whenever the thing is there.
pub fn all() -> Vec<Change> {
    let mut changes = Vec::new();
    let manners = [Manner::AtRest, Manner::Written, Manner::Resealed, Manner::ResealedErased];
    let mut add = |key: String, whens: &[When]| {
        for when in whens {
            for how in How::ALL {
                for manner in manners {
                    // A disk neither deletes by marker nor copies.
                    let disk = manner == Manner::AtRest && matches!(how, How::Deleted | How::Duplicated);
                    if !disk {
                        changes.push(Change { key: key.clone(), how, manner, when: *when });
                    }
                }
            }
        }
    };
    use When::{AfterPlanning, AfterPublication, AfterReading, BeforeVerification};
    for path in OBJECTS {
        add(format!("backups/<id>/{path}"), &[BeforeVerification, AfterPublication]);
    }
    for path in &OBJECTS[1..3] {
        add(format!("backups/<id>/{path}"), &[AfterPlanning, AfterReading]);
    }
    for document in ["expectations.json", "observed-after.json"] {
        add(format!("manifests/<id>/{document}"), &[BeforeVerification, AfterReading, AfterPublication]);
    }
    add("work/<id>/shard-00000.json".to_owned(), &[AfterPlanning, AfterReading]);
    add("work/<id>/part-00000.json".to_owned(), &[AfterReading]);
    for document in ["manifest.json", "objects.ndjson", "SHA256SUMS"] {
        add(format!("manifests/<id>/{document}"), &[AfterPublication]);
    }
    add(Key::Pointer.to_string(), &[AfterPublication]);
    changes
}

/// What a change amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Amounts {
    /// Nothing: the bytes are the same.
    ToNothing,
    /// A document of ours in other words: the same values, other white space.
    ToTheSameValues,
    /// A copy of a document of ours beside it, under a name that nothing reads.
    ToACopyBeside,
    /// Work that is done anew when it is gone.
    ToWorkDoneAnew,
    /// To something else.
    ToAnother,
}

impl Change {
    /// Makes the change, and says what it amounts to.
    pub fn make(&self, cluster: &Cluster) -> Amounts {
        let bucket = cluster.world.bucket();
        let key = self.key.replace("<id>", cluster.backup.as_str());
        let bytes = bucket.bytes(&key).unwrap_or_else(|| panic!("{key} is there"));
        let other = self.other(cluster, &key);
        let older = self.older(cluster, &key);
        let resealed = matches!(self.manner, Manner::Resealed | Manner::ResealedErased);
        // Whoever knows the format changes what is inside the chunk and packs it again.
        let inside = resealed && key.contains("/chunk-") && !matches!(self.how, How::Swapped | How::Older);
        let changed = if inside {
            self.how.of(&reseal::text_of_chunk(&bytes), &[], &[]).map(|text| reseal::chunk(&text))
        } else {
            self.how.of(&bytes, &other, &older)
        };
        let amounts = self.amounts(&bytes, changed.as_deref());
        match (self.how, changed) {
            (How::Duplicated, _) => {
                bucket.put_raw(&format!("{key}-copy"), bytes);
            }
            (How::Deleted, _) if self.manner == Manner::ResealedErased => bucket.erase(&key),
            (How::Deleted, _) => bucket.delete(&key),
            (_, None) => panic!("{:?} gives no bytes", self.how),
            (_, Some(changed)) => match self.manner {
                Manner::AtRest => bucket.rot_in_place(&key, changed),
                Manner::Written | Manner::Resealed => write(cluster, &key, changed),
                Manner::ResealedErased => {
                    bucket.erase(&key);
                    write(cluster, &key, changed);
                }
            },
        }
        if resealed {
            reseal::above(cluster, &key, self.manner == Manner::ResealedErased);
        }
        amounts
    }

    fn amounts(&self, bytes: &[u8], changed: Option<&[u8]>) -> Amounts {
        let ours = !self.key.starts_with("backups/");
        match (self.how, changed) {
            (How::Duplicated, _) if ours => Amounts::ToACopyBeside,
            (How::Deleted, _) if self.key.starts_with("work/") => Amounts::ToWorkDoneAnew,
            (_, Some(changed)) if changed == bytes => Amounts::ToNothing,
            (_, Some(changed)) if values(changed).is_some_and(|now| values(bytes) == Some(now)) => {
                Amounts::ToTheSameValues
            }
            _ => Amounts::ToAnother,
        }
    }

    /// The bytes of another thing of its kind.
    fn other(&self, cluster: &Cluster, key: &str) -> Vec<u8> {
        let bucket = cluster.world.bucket();
        let partner = match key.rsplit('/').next().unwrap_or_default() {
            "backup_config.json" => cluster.key("weaviate-0/backup.json"),
            "backup.json" => cluster.key("backup_config.json"),
            chunk if chunk.starts_with("chunk-") => {
                let article = cluster.key("weaviate-0/Article/chunk-2");
                if key.contains("/Article/") { article } else { cluster.key("weaviate-0/Article/chunk-3") }
            }
            _ if key == Key::Pointer.to_string() => Key::Ownership.to_string(),
            _ => key.replace(cluster.backup.as_str(), cluster.older.as_str()),
        };
        bucket.bytes(&partner).or_else(|| bucket.bytes(key)).unwrap_or_default()
    }

    /// The bytes of an older one.
    fn older(&self, cluster: &Cluster, key: &str) -> Vec<u8> {
        let bucket = cluster.world.bucket();
        let versions = bucket.bodies(key);
        let own = versions.iter().rev().nth(1).cloned();
        let elsewhere = bucket.bytes(&key.replace(cluster.backup.as_str(), cluster.older.as_str()));
        own.or(elsewhere).unwrap_or_default()
    }
}

/// The values of a JSON document, or of each line of one.
fn values(bytes: &[u8]) -> Option<Vec<serde_json::Value>> {
    if let Ok(value) = serde_json::from_slice(bytes) {
        return Some(vec![value]);
    }
    bytes
        .split(|b| *b == b'\n')
        .filter(|l| !l.trim_ascii().is_empty())
        .map(|l| serde_json::from_slice(l).ok())
        .collect()
}

/// Writes as whoever wrote it first: Weaviate uploads chunks in parts.
fn write(cluster: &Cluster, key: &str, bytes: Vec<u8>) {
    let bucket = cluster.world.bucket();
    if key.contains("/chunk-") {
        bucket.put_multipart(key, bytes);
    } else {
        bucket.put_raw(key, bytes);
    }
}
