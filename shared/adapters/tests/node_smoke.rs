//! Every call of `Node` once, by the HTTP adapter against a running node: the double or a real server, which both pass.
//! The node must be empty, take the key given, and back up to a store that works.
//!
//! ```text
//! LIFEBOAT_SMOKE_NODE=127.0.0.1:8080 LIFEBOAT_SMOKE_KEY=operator-key \
//!   cargo test -p lifeboat-adapters --test node_smoke -- --ignored
//! ```

use std::net::SocketAddr;
use std::time::Duration;

use lifeboat_adapters::clock::SystemClock;
use lifeboat_adapters::weaviate::{HttpNodes, KeySource, Secret};
use lifeboat_domain::expectations::{EvidenceAdapter, TenantStatus};
use lifeboat_domain::ids::{BackupId, uuid_of};
use lifeboat_domain::weaviate::OperationStatus;
use lifeboat_workflows::ports::node::{Equals, NodeError, Place};
use lifeboat_workflows::ports::{Clock, Fault, Node, Nodes};
use serde_json::{Value, json};

struct Given(String);

impl KeySource for Given {
    async fn key(&self) -> Result<Secret, Fault> {
        Ok(Secret::new(&self.0))
    }
}

#[expect(clippy::unwrap_used, reason = "a test's helper")]
async fn post(address: SocketAddr, key: &str, path: &str, body: &Value) {
    let reply = reqwest::Client::new().post(format!("http://{address}{path}")).bearer_auth(key).json(body).send().await;
    let reply = reply.unwrap();
    assert!(reply.status().is_success(), "{path}: {} {}", reply.status(), reply.text().await.unwrap());
}

fn objects(class: &str, tenant: Option<&str>, count: u16) -> Value {
    let object = |n: u16| {
        let vector: Vec<f32> = (0..8u16).map(|d| f32::from(d).mul_add(0.1, f32::from(n)).sin()).collect();
        let mut object = json!({"class": class, "id": uuid_of(&format!("{class} {n}")), "vector": vector,
            "properties": {"title": format!("lifeboat number {n}"), "n": n, "even": n.is_multiple_of(2)}});
        if let Some(tenant) = tenant {
            object["tenant"] = json!(tenant);
        }
        object
    };
    json!({"objects": (0..count).map(object).collect::<Vec<_>>()})
}

fn class(name: &str, multi_tenant: bool) -> Value {
    json!({"class": name, "vectorizer": "none", "multiTenancyConfig": {"enabled": multi_tenant}, "properties": [
        {"name": "title", "dataType": ["text"]}, {"name": "n", "dataType": ["int"]}, {"name": "even", "dataType": ["boolean"]}]})
}

/// Polls a restore or backup to its end.
async fn ended(poll: impl AsyncFn() -> OperationStatus) -> OperationStatus {
    for _ in 0..100 {
        match poll().await {
            OperationStatus::Started
            | OperationStatus::Transferring
            | OperationStatus::Transferred
            | OperationStatus::Finalizing => {
                SystemClock.sleep(Duration::from_millis(300)).await;
            }
            status @ (OperationStatus::Success
            | OperationStatus::Failed
            | OperationStatus::Cancelling
            | OperationStatus::Canceled
            | OperationStatus::Unknown(_)) => return status,
        }
    }
    panic!("it does not end");
}

#[tokio::test]
#[ignore = "asks a running node, named by LIFEBOAT_SMOKE_NODE"]
async fn a_node_answers_every_call_in_the_shapes_that_are_read() {
    let address: SocketAddr = std::env::var("LIFEBOAT_SMOKE_NODE").expect("LIFEBOAT_SMOKE_NODE").parse().unwrap();
    let key = std::env::var("LIFEBOAT_SMOKE_KEY").expect("LIFEBOAT_SMOKE_KEY");
    let node = HttpNodes::on_port(Given(key.clone()), address.port()).at(&address.ip().to_string());

    assert!(node.ready().await.unwrap() && node.live().await.unwrap());
    assert!(node.schema().await.unwrap().is_empty(), "the node must be empty");

    post(address, &key, "/v1/schema", &class("Article", false)).await;
    post(address, &key, "/v1/schema", &class("Tenanted", true)).await;
    post(
        address,
        &key,
        "/v1/schema/Tenanted/tenants",
        &json!([{"name": "hot"}, {"name": "cold", "activityStatus": "INACTIVE"}]),
    )
    .await;
    post(address, &key, "/v1/batch/objects", &objects("Article", None, 50)).await;
    post(address, &key, "/v1/batch/objects", &objects("Tenanted", Some("hot"), 20)).await;

    let schema = node.schema().await.unwrap();
    let shown: Vec<(&str, bool)> = schema.iter().map(|c| (c.name.as_str(), c.multi_tenant)).collect();
    assert_eq!(shown, [("Article", false), ("Tenanted", true)]);
    assert!(node.aliases().await.unwrap().is_empty());
    let tenants = node.tenants("Tenanted").await.unwrap();
    assert_eq!((tenants[0].name.as_str(), &tenants[0].status), ("cold", &TenantStatus::Inactive));
    assert_eq!((tenants[1].name.as_str(), &tenants[1].status), ("hot", &TenantStatus::Active));
    let nodes = node.nodes().await.unwrap();
    assert_eq!((nodes.len(), nodes[0].status.as_str(), nodes[0].shards_not_ready), (1, "HEALTHY", 0));

    let adapter = node.evidence_adapter().await.unwrap();
    let place = |class: &str, tenant: Option<&str>| Place { class: class.into(), tenant: tenant.map(str::to_owned) };
    let (article, hot) = (place("Article", None), place("Tenanted", Some("hot")));
    for adapter in [adapter, EvidenceAdapter::Graphql] {
        assert_eq!(node.count(adapter, &article, None).await.unwrap(), 50);
        assert_eq!(node.count(adapter, &hot, None).await.unwrap(), 20);
        for (property, value, count) in
            [("n", json!(7), 1), ("even", json!(true), 25), ("title", json!("lifeboat number 3"), 1)]
        {
            let filter = Equals { property: property.into(), value };
            assert_eq!(node.count(adapter, &article, Some(&filter)).await.unwrap(), count, "{property}");
        }
        let id = uuid_of("Article 7");
        let near = node.near_object(adapter, &article, &id, 10).await.unwrap();
        assert_eq!((near.len(), near[0].id.as_str()), (10, id.as_str()));
        let best = node.bm25(adapter, &article, "title", "number 7", 5).await.unwrap();
        assert_eq!((best[0].id.as_str(), best[0].score > 0.0), (id.as_str(), true));
        let cold = node.count(adapter, &place("Tenanted", Some("cold")), None).await;
        assert!(matches!(cold, Err(NodeError::Refused { .. })), "{cold:?}");
        let nobody = node.count(adapter, &place("Tenanted", Some("nobody")), None).await;
        assert!(matches!(nobody, Err(NodeError::NotFound { .. })), "{nobody:?}");
        let absent = node.count(adapter, &place("Absent", None), None).await;
        assert!(matches!(absent, Err(NodeError::NotFound { .. })), "{absent:?}");
    }
    let view = node.object(&article, &uuid_of("Article 7")).await.unwrap().unwrap();
    assert_eq!(
        (view.properties["n"].clone(), view.vectors["default"].len(), view.updated_at.is_some()),
        (json!(7), 8, true)
    );
    assert_eq!(node.object(&article, &uuid_of("nothing")).await.unwrap(), None);
    assert!(node.object(&hot, &uuid_of("Tenanted 3")).await.unwrap().is_some());
    let mut seen = 0;
    let mut after = "00000000-0000-0000-0000-000000000000".to_owned();
    while let Some(next) = node.object_after(&article, &after).await.unwrap() {
        assert!(next.id > after && next.vectors.contains_key("default"));
        (after, seen) = (next.id, seen + 1);
    }
    assert_eq!(seen, 50);

    let id = BackupId::parse(&format!("smoke-{}", std::process::id())).unwrap();
    let missing = node.backup_status(&id).await;
    assert!(matches!(missing, Err(NodeError::NotFound { .. })), "{missing:?}");
    let classes = ["Article".to_owned(), "Tenanted".to_owned()];
    let accepted = node.create_backup(&id, &classes).await.unwrap();
    assert_eq!((accepted.classes.len(), accepted.status), (2, OperationStatus::Started));
    assert_eq!(ended(async || node.backup_status(&id).await.unwrap().status).await, OperationStatus::Success);
    assert!(node.list_backups().await.unwrap().iter().any(|(b, s)| b == id.as_str() && *s == OperationStatus::Success));
    let again = node.create_backup(&id, &classes).await;
    assert!(matches!(again, Err(NodeError::Refused { status: 422, .. })), "{again:?}");
    node.cancel_backup(&BackupId::parse("never-made").unwrap()).await.unwrap();
    let none = node.restore_status(&id).await;
    assert!(matches!(none, Err(NodeError::NotFound { .. })), "{none:?}");
    // The classes are there, so the restore is taken and fails.
    node.start_restore(&id, &classes).await.unwrap();
    assert_eq!(ended(async || node.restore_status(&id).await.unwrap().status).await, OperationStatus::Failed);
    assert!(node.restore_status(&id).await.unwrap().error.contains("already exists"));
    node.cancel_restore(&BackupId::parse("never-made").unwrap()).await.unwrap();
}
