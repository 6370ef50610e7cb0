//! What cases start from: classes, objects, and backups of them.

use anyhow::{Result, ensure};
use lifeboat_domain::ids::uuid_of;
use reqwest::Method;
use serde_json::{Value, json};

use super::World;

impl World {
    /// No class and no alias.
    pub(crate) async fn empty(&self) -> Result<()> {
        if self.state().fixture == Some("empty") {
            return Ok(());
        }
        let aliases = self.prepare(Method::GET, "/v1/aliases", None).await?;
        for alias in aliases.json["aliases"].as_array().into_iter().flatten() {
            let path = format!("/v1/aliases/{}", alias["alias"].as_str().unwrap_or_default());
            self.prepare(Method::DELETE, &path, None).await?;
        }
        let schema = self.prepare(Method::GET, "/v1/schema", None).await?;
        for class in schema.json["classes"].as_array().into_iter().flatten() {
            let path = format!("/v1/schema/{}", class["class"].as_str().unwrap_or_default());
            self.prepare(Method::DELETE, &path, None).await?;
        }
        self.state().fixture = Some("empty");
        Ok(())
    }

    /// `Article` with 30 objects and `Author` with 4, and nothing else.
    pub(crate) async fn library(&self) -> Result<()> {
        if self.state().fixture == Some("library") {
            return Ok(());
        }
        self.empty().await?;
        self.spoil();
        self.fill("Article", 30).await?;
        self.fill("Author", 4).await?;
        self.state().fixture = Some("library");
        Ok(())
    }

    /// A plain class with objects.
    pub(crate) async fn fill(&self, class: &str, count: usize) -> Result<()> {
        self.spoil();
        self.prepare(Method::POST, "/v1/schema", Some(&definition(class))).await?;
        self.add(class, None, 0..count).await
    }

    /// More objects of a class or tenant.
    pub(crate) async fn add(&self, class: &str, tenant: Option<&str>, range: std::ops::Range<usize>) -> Result<()> {
        self.spoil();
        let objects: Vec<Value> = range.map(|n| object(class, tenant, n)).collect();
        let reply = self.prepare(Method::POST, "/v1/batch/objects", Some(&json!({"objects": objects}))).await?;
        for answer in reply.json.as_array().into_iter().flatten() {
            ensure!(answer["result"]["status"] == "SUCCESS", "{class}: {answer}");
        }
        Ok(())
    }

    /// The backup `golden` of the library, uncompressed, so that a case can find a vector in its chunks.
    pub(crate) async fn golden(&self) -> Result<String> {
        let id = self.id("golden");
        if !self.state().golden {
            self.library().await?;
            let body = json!({"id": id, "config": {"CompressionLevel": "NoCompression"}});
            self.backup_with(&body).await?;
            self.state().golden = true;
        }
        Ok(id)
    }

    /// A copy of the golden backup under another id.
    pub(crate) async fn copy_of_golden(&self, name: &str) -> Result<String> {
        self.copy_of_golden_by(name, "weaviate-0").await
    }

    /// The same as if a node of this name had made it.
    pub(crate) async fn copy_of_golden_by(&self, name: &str, node: &str) -> Result<String> {
        let (from, id) = (self.golden().await?, self.id(name));
        let store = self.store()?;
        for key in store.list(&format!("{from}/")).await? {
            let rest = &key[from.len()..];
            let mut bytes = store.get(&key).await?;
            if rest == "/restore_config.json" {
                continue;
            }
            if let Some(text) = rest.ends_with(".json").then(|| String::from_utf8_lossy(&bytes).into_owned()) {
                let text = text.replace(&format!("\"{from}\""), &format!("\"{id}\""));
                bytes = text.replace("\"weaviate-0\"", &format!("\"{node}\"")).into_bytes();
            }
            let rest = rest.replace("/weaviate-0/", &format!("/{node}/"));
            store.put(&format!("{id}{rest}"), bytes).await?;
        }
        Ok(id)
    }

    /// A backup of everything that must succeed; what the store says of it at its end.
    pub(crate) async fn backup(&self, id: &str) -> Result<Value> {
        self.backup_with(&json!({"id": id})).await
    }

    /// The same with a body.
    pub(crate) async fn backup_with(&self, body: &Value) -> Result<Value> {
        let reply = self.ask_when_free("/v1/backups/s3", body).await?;
        ensure!(reply.status == 200, "a backup as a preparation: {} {}", reply.status, reply.text);
        let id = body["id"].as_str().unwrap_or_default();
        let end = self.ended(&format!("/v1/backups/s3/{id}")).await?;
        ensure!(end["status"] == "SUCCESS", "a backup as a preparation: {end}");
        Ok(end)
    }
}

/// A class with a word-split text, a whole text and three other types.
pub(crate) fn definition(class: &str) -> Value {
    let text = |name: &str, how: &str| json!({"name": name, "dataType": ["text"], "tokenization": how});
    json!({"class": class, "vectorizer": "none", "properties": [
        text("title", "word"), text("code", "field"), {"name": "n", "dataType": ["int"]},
        {"name": "half", "dataType": ["number"]}, {"name": "even", "dataType": ["boolean"]}]})
}

/// An object's id.
pub(crate) fn uuid(class: &str, n: usize) -> String {
    uuid_of(&format!("{class} {n}"))
}

/// An object's vector.
pub(crate) fn vector(n: usize) -> Vec<f32> {
    let n = f32::from(u16::try_from(n).unwrap_or(u16::MAX));
    (0..8u8).map(|d| f32::from(d).mul_add(0.7, n * 1.3).sin()).collect()
}

/// An object.
pub(crate) fn object(class: &str, tenant: Option<&str>, n: usize) -> Value {
    let half = f64::from(u32::try_from(n).unwrap_or(u32::MAX)) / 2.0 + 0.25;
    let mut object = json!({"class": class, "id": uuid(class, n), "vector": vector(n), "properties": {
        "title": format!("The lifeboat number {n}"), "code": format!("CODE {n}"), "n": n, "half": half,
        "even": n.is_multiple_of(2)}});
    if let Some(tenant) = tenant {
        object["tenant"] = json!(tenant);
    }
    object
}
