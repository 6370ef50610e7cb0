//! Changes made to provoke one check each, where the changes of [`crate::changes`] always meet another one first: what
//! a hostile writer, who leaves no older version behind, would try.

use lifeboat_domain::document::encode;
use lifeboat_domain::keys::Key;
use lifeboat_domain::verify::plan::{Limits, Shard};
use serde_json::{Value, json};

use crate::changes::When;
use crate::cluster::Cluster;
use crate::reseal;

const GLOBAL: &str = "backup_config.json";
const NODE: &str = "weaviate-0/backup.json";
const CHUNK: &str = "weaviate-0/Article/chunk-1";

/// One change, and the check that it must meet first.
#[derive(Debug, Clone, Copy)]
pub struct Provoked {
    /// The check.
    pub check: &'static str,
    /// When.
    pub when: When,
    /// Whether the store keeps versions.
    pub versioned: bool,
    /// The change.
    pub make: fn(&mut Cluster),
}

/// Changes a JSON object, and leaves no trace of what it was.
fn edit(cluster: &Cluster, key: &str, change: impl FnOnce(&mut Value)) {
    let bucket = cluster.world.bucket();
    let mut value = bucket.json(key).unwrap_or_else(|| panic!("{key} is there"));
    change(&mut value);
    bucket.erase(key);
    bucket.put_raw(key, format!("{value:#}\n"));
}

fn global(cluster: &Cluster, change: impl FnOnce(&mut Value)) {
    edit(cluster, &cluster.key(GLOBAL), change);
}

fn node(cluster: &Cluster, change: impl FnOnce(&mut Value)) {
    edit(cluster, &cluster.key(NODE), change);
}

fn class<'v>(node: &'v mut Value, name: &str) -> &'v mut Value {
    let classes = node["classes"].as_array_mut().expect("classes");
    classes.iter_mut().find(|c| c["name"] == name).expect("the class")
}

fn sharding(class: &mut Value, change: impl FnOnce(&mut Value)) {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let text = class["shardingState"].as_str().expect("a sharding state");
    let mut state: Value = serde_json::from_slice(&STANDARD.decode(text).expect("base64")).expect("JSON");
    change(&mut state);
    class["shardingState"] = json!(STANDARD.encode(state.to_string()));
}

/// Edits the manifest and recomputes what is above it.
fn manifest(cluster: &Cluster, change: impl FnOnce(&mut Value)) {
    let key = Key::Manifest(cluster.backup.clone()).to_string();
    edit(cluster, &key, change);
    reseal::above(cluster, &key, true);
}

fn pointer(cluster: &Cluster, change: impl FnOnce(&mut Value)) {
    edit(cluster, &Key::Pointer.to_string(), change);
}

macro_rules! provoked {
    ($($check:literal $when:ident $($store:ident)? => $make:expr;)*) => {
        /// All of them.
        pub fn all() -> Vec<Provoked> {
            vec![$(Provoked {
                check: $check,
                when: When::$when,
                versioned: [$(stringify!($store),)? ""][0] != "unversioned",
                make: $make,
            }),*]
        }
    };
}

provoked! {
    "not_success" BeforeVerification => |c| node(c, |n| n["status"] = json!("TRANSFERRING"));
    "descriptor_error" BeforeVerification => |c| node(c, |n| n["error"] = json!("disk full"));
    "id_differs" BeforeVerification => |c| node(c, |n| n["id"] = json!("other"));
    "structure_unknown" BeforeVerification => |c| global(c, |g| g["version"] = json!("3.0"));
    "descriptors_disagree" BeforeVerification => |c| node(c, |n| n["serverVersion"] = json!("1.38.9"));
    "shard_unknown" BeforeVerification => |c| node(c, |n| {
        class(n, "Article")["chunks"]["1"].as_array_mut().expect("shards").push(json!("ghost"));
    });
    "base_missing" BeforeVerification => |c| global(c, |g| g["baseBackupId"] = json!("gone"));
    "base_object_missing" BeforeVerification => |c| {
        let older = c.older.to_string();
        node(c, |n| class(n, "Article")["shards"][0]["incrementalBackupInfo"] =
            json!({"filesPerBackup": {older: [{"chunkKeys": ["Article/chunk-99"]}]}}));
    };
    "incremental_not_supported" BeforeVerification => |c| {
        let older = c.older.to_string();
        node(c, |n| class(n, "Article")["shards"][0]["incrementalBackupInfo"] = json!({"filesPerBackup": {older: []}}));
    };
    "no_nodes" BeforeVerification => |c| global(c, |g| g["nodes"] = json!({}));
    "node_absent" BeforeVerification => |c| {
        edit(c, &Key::Expectations(c.backup.clone()).to_string(), |e| e["node_name"] = json!("other"));
    };
    "node_classes_differ" BeforeVerification => |c| node(c, |n| {
        n["classes"].as_array_mut().expect("classes").retain(|c| c["name"] != "Note");
    });
    "classes_differ" BeforeVerification => |c| {
        node(c, |n| n["classes"].as_array_mut().expect("classes").retain(|c| c["name"] != "Note"));
        global(c, |g| {
            g["nodes"]["weaviate-0"]["classes"].as_array_mut().expect("classes").retain(|c| c != "Note");
        });
    };
    "sharding_state_unreadable" BeforeVerification => |c| node(c, |n| {
        class(n, "Article")["shardingState"] = json!("%");
    });
    "shard_missing" BeforeVerification => |c| node(c, |n| sharding(class(n, "Article"), |state| {
        state["physical"]["another"] = json!({"belongsToNodes": ["weaviate-0"]});
    }));
    "shard_without_chunk" BeforeVerification => |c| node(c, |n| {
        for chunk in class(n, "Note")["chunks"].as_object_mut().expect("chunks").values_mut() {
            *chunk = json!([]);
        }
    });
    "inactive_tenant_missing" BeforeVerification => |c| node(c, |n| {
        let tenanted = class(n, "Tenanted");
        tenanted["shards"].as_array_mut().expect("shards").retain(|s| s["name"] != "globex");
        for chunk in tenanted["chunks"].as_object_mut().expect("chunks").values_mut() {
            chunk.as_array_mut().expect("shards").retain(|s| s != "globex");
        }
        sharding(tenanted, |state| drop(state["physical"].as_object_mut().expect("shards").remove("globex")));
    });
    "object_empty" BeforeVerification => |c| {
        c.world.bucket().erase(&c.key(CHUNK));
        c.world.bucket().put_multipart(&c.key(CHUNK), "");
    };
    "object_too_large" BeforeVerification => |c| {
        c.verify.limits = Limits { rate_bytes_per_second: 1, seconds: 100 };
    };
    "plan_changed" BeforeVerification => |c| {
        let foreign = Shard {
            backup_id: c.backup.clone(),
            index: 0,
            of: 1,
            plan_sha256: lifeboat_domain::ids::Sha256Digest::of(b"another plan"),
            objects: Vec::new(),
        };
        c.world.bucket().put_raw(&Key::Shard(c.backup.clone(), 0).to_string(), encode(&foreign));
    };
    "changed" AfterPlanning unversioned => |c| drop(c.world.bucket().put_multipart(&c.key(CHUNK), "other bytes"));
    "vanished" AfterPlanning => |c| c.world.bucket().erase(&c.key(CHUNK));
    "checksum_differs" AfterPlanning => |c| {
        c.world.bucket().keep_checksum(&c.key(CHUNK));
        c.world.bucket().flip_byte_in_place(&c.key(CHUNK), 0);
    };
    "proof_differs" AfterReading => |c| {
        drop(c.world.bucket().put_raw(&Key::Sums(c.backup.clone()).to_string(), "somebody else's"));
    };
    "proof: is not the manifest of the backup that the pointer names" AfterPublication => |c| {
        let elsewhere = Key::Manifest(c.older.clone()).to_string();
        pointer(c, |p| p["manifest"]["key"] = json!(elsewhere));
    };
    "proof: asks for a newer reader than this build" AfterPublication => |c| manifest(c, |m| m["min_reader"] = json!(2));
    "document: unknown schema" AfterPublication => |c| manifest(c, |m| m["schema"] = json!("lifeboat/manifest/2.0"));
    "proof: has not the digest that it records of itself" AfterPublication => |c| {
        let key = Key::Manifest(c.backup.clone()).to_string();
        edit(c, &key, |m| m["tool_version"] = json!("9.9.9"));
        let bytes = c.world.bucket().bytes(&key).expect("the manifest");
        let (_, version) = c.world.bucket().pins(&key).expect("the manifest");
        pointer(c, |p| {
            p["manifest"]["sha256"] = json!(lifeboat_domain::ids::Sha256Digest::of(&bytes));
            p["manifest"]["size_bytes"] = json!(bytes.len());
            p["manifest"]["version_id"] = json!(version);
        });
    };
    "proof: was not verified by reading every object" AfterPublication => |c| {
        manifest(c, |m| m["verification"] = json!("T0"));
    };
    "proof: says of the catalogue's versions what its rows do not" AfterPublication => |c| {
        manifest(c, |m| m["catalogue"]["t0"] = json!("weak"));
    };
    "catalogue: its number of rows" AfterPublication => |c| manifest(c, |m| m["catalogue"]["rows"] = json!(1));
    "catalogue: its bytes" AfterPublication => |c| manifest(c, |m| m["catalogue"]["size_bytes"] = json!(1));
    "catalogue: its root digest" AfterPublication => |c| manifest(c, |m| {
        m["catalogue"]["root_sha256"] = m["catalogue"]["sha256"].clone();
    });
    "proof: says otherwise of the backup than its manifest" AfterPublication => |c| {
        pointer(c, |p| p["data_as_of"] = json!("2030-01-01T00:00:00Z"));
    };
    "proof: does not follow the pointer that was written before it" AfterPublication => |c| {
        let key = Key::Pointer.to_string();
        let mut forged = c.world.bucket().json(&key).expect("the pointer");
        forged["sequence"] = json!(77);
        drop(c.world.bucket().put_raw(&key, format!("{forged:#}\n")));
    };
    "proof: goes back to older data without a person's decision" AfterPublication => |c| {
        let key = Key::Pointer.to_string();
        let next = c.pointer().expect("the pointer").sequence.next();
        let bodies = c.world.bucket().bodies(&key);
        let mut forged: Value = serde_json::from_slice(&bodies[0]).expect("the first pointer");
        forged["sequence"] = json!(next);
        drop(c.world.bucket().put_raw(&key, format!("{forged:#}\n")));
    };
    "t0: Missing" AfterPublication => |c| c.world.bucket().erase(&c.key(CHUNK));
    "t0: Differs ETag" AfterPublication unversioned => |c| {
        let size = c.world.bucket().bytes(&c.key(CHUNK)).expect("the chunk").len();
        drop(c.world.bucket().put_multipart(&c.key(CHUNK), vec![b'x'; size]));
    };
}
