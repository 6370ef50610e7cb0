//! Every call of `Node` by the HTTP adapter against a running server, with what each answer must mean. The double and a
//! real Weaviate pass the same: `real_weaviate.rs` beside this, and `node_contract.rs` of the local stack.
//!
//! Classes bear names of their own, so that the server need not be empty; they are removed at the end.

#![expect(clippy::unwrap_used, reason = "tests")]

mod made;

use std::net::SocketAddr;
use std::time::Duration;

use lifeboat_adapters::clock::SystemClock;
use lifeboat_adapters::weaviate::{HttpNode, HttpNodes, KeySource, Secret};
use lifeboat_domain::expectations::{EvidenceAdapter, TenantStatus};
use lifeboat_domain::ids::BackupId;
use lifeboat_domain::weaviate::{OperationStatus, ServerVersion};
use lifeboat_workflows::ports::node::{Accepted, Equals, NodeError, ObjectView, Place};
use lifeboat_workflows::ports::{Clock, Fault, Node, Nodes};
use serde_json::{Value, json};

use made::Made;

/// A server that the calls are made to.
pub(crate) struct Server {
    /// Where its REST API listens.
    pub(crate) address: SocketAddr,
    /// A key that may do everything.
    pub(crate) key: String,
    /// A key that may only read, where there is one.
    pub(crate) reader_key: Option<String>,
}

/// A key that never changes.
pub(crate) struct Fixed(String);

impl KeySource for Fixed {
    async fn key(&self) -> Result<Secret, Fault> {
        Ok(Secret::new(&self.0))
    }
}

type Client = HttpNode<Fixed>;

impl Server {
    fn node(&self, key: &str) -> Client {
        HttpNodes::on_port(Fixed(key.to_owned()), self.address.port()).at(&self.address.ip().to_string())
    }
}

/// Makes every call, and holds each answer to what it must mean.
pub(crate) async fn play(server: &Server) {
    let node = server.node(&server.key);
    says_what_it_is(&node).await;
    let made = Made::on(server).await;
    shows_its_schema(&node, &made).await;
    gives_objects_by_id(&node, &made).await;
    lists_from_a_cursor(&node, &made).await;
    let adapter = node.evidence_adapter().await.unwrap();
    for adapter in [adapter, EvidenceAdapter::Graphql] {
        counts(&node, &made, adapter).await;
        finds(&node, &made, adapter).await;
    }
    refuses_keys(server, &made).await;
    nobody_answers(server).await;
    let id = backs_up(&node, &made).await;
    cancels(&node, &made).await;
    restores(&node, &made, &id).await;
    made.remove().await;
}

async fn says_what_it_is(node: &Client) {
    assert!(node.ready().await.unwrap() && node.live().await.unwrap());
    let meta = node.meta().await.unwrap();
    assert!(ServerVersion::parse(&meta.version).is_some(), "{}", meta.version);
    assert!(meta.modules.contains_key("backup-s3"), "{:?}", meta.modules.keys());
    let nodes = node.nodes().await.unwrap();
    assert_eq!((nodes.len(), nodes[0].status.as_str(), nodes[0].version.as_str()), (1, "HEALTHY", &*meta.version));
    assert!(!nodes[0].git_hash.is_empty() && !nodes[0].name.is_empty());
}

async fn shows_its_schema(node: &Client, made: &Made) {
    let schema = node.schema().await.unwrap();
    let own: Vec<(&str, bool)> =
        schema.iter().filter(|c| made.names().contains(&c.name)).map(|c| (c.name.as_str(), c.multi_tenant)).collect();
    assert_eq!(own, [(&*made.article, false), (&*made.named, false), (&*made.tenanted, true), (&*made.vacant, false)]);
    assert_eq!(node.aliases().await.unwrap().get(&made.alias), Some(&made.article));
    shows_tenants(node, made).await;
    let nodes = node.nodes().await.unwrap();
    assert_eq!((nodes[0].shards_not_ready, nodes[0].vector_queue_length), (0, 0));
    for class in [&made.article, "NeverMade"] {
        let refused = node.tenants(class).await;
        assert!(matches!(refused, Err(NodeError::Refused { status: 422, .. })), "{class}: {refused:?}");
    }
}

async fn shows_tenants(node: &Client, made: &Made) {
    let tenants = node.tenants(&made.tenanted).await.unwrap();
    let shown: Vec<(&str, &TenantStatus)> = tenants.iter().map(|t| (t.name.as_str(), &t.status)).collect();
    assert_eq!(
        shown,
        [("bare", &TenantStatus::Active), ("cold", &TenantStatus::Inactive), ("hot", &TenantStatus::Active)]
    );
}

async fn gives_objects_by_id(node: &Client, made: &Made) {
    let view = node.object(&made.article(), &made.id(&made.article, 7)).await.unwrap().unwrap();
    assert_eq!(view.properties, Made::properties(7));
    assert_eq!(view.vectors.iter().collect::<Vec<_>>(), [(&"default".to_owned(), &Made::vector(7, 8))]);
    assert!(view.updated_at.is_some());
    let named = node.object(&place(&made.named, None), &made.id(&made.named, 3)).await.unwrap().unwrap();
    assert_eq!(named.vectors["long"], Made::vector(3, 8));
    assert_eq!(named.vectors["short"], Made::vector(3, 4));
    assert_eq!(named.vectors.len(), 2, "the unnamed vector is not there, and not made up");
    let hot = place(&made.tenanted, Some("hot"));
    assert!(node.object(&hot, &made.id(&made.tenanted, 3)).await.unwrap().is_some());
    for (place, id) in [(made.article(), made.id(&made.article, 9_999)), (place("NeverMade", None), made.id("", 1))] {
        assert_eq!(node.object(&place, &id).await.unwrap(), None, "{place:?}");
    }
    for tenant in [None, Some("cold"), Some("nobody")] {
        let refused = node.object(&place(&made.tenanted, tenant), &made.id(&made.tenanted, 3)).await;
        assert!(matches!(refused, Err(NodeError::Refused { status: 422, .. })), "{tenant:?}: {refused:?}");
    }
}

async fn lists_from_a_cursor(node: &Client, made: &Made) {
    const FIRST: &str = "00000000-0000-0000-0000-000000000000";
    let all = walk(node, &made.article(), FIRST).await;
    assert_eq!(all.len(), Made::ARTICLES);
    assert!(all.iter().all(|o| o.vectors["default"].len() == 8), "vectors come with the list");
    // A cursor that is no object's id gives the next one.
    let middle = "80000000-0000-0000-0000-000000000000";
    let upper: Vec<&str> = all.iter().map(|o| o.id.as_str()).filter(|id| *id > middle).collect();
    let walked = walk(node, &made.article(), middle).await;
    assert_eq!(walked.iter().map(|o| o.id.as_str()).collect::<Vec<_>>(), upper);
    let last = "ffffffff-ffff-ffff-ffff-ffffffffffff";
    assert_eq!(node.object_after(&made.article(), last).await.unwrap(), None);
    assert_eq!(node.object_after(&place(&made.vacant, None), FIRST).await.unwrap(), None);
    assert_eq!(walk(node, &place(&made.tenanted, Some("hot")), FIRST).await.len(), Made::HOT);
    assert_eq!(node.object_after(&place(&made.tenanted, Some("bare")), FIRST).await.unwrap(), None);
    for tenant in [None, Some("cold"), Some("nobody")] {
        let refused = node.object_after(&place(&made.tenanted, tenant), FIRST).await;
        assert!(matches!(refused, Err(NodeError::Refused { status: 422, .. })), "{tenant:?}: {refused:?}");
    }
    let refused = node.object_after(&made.article(), "no-uuid").await;
    assert!(matches!(refused, Err(NodeError::Refused { status: 422, .. })), "{refused:?}");
    let absent = node.object_after(&place("NeverMade", None), FIRST).await;
    assert!(matches!(absent, Err(NodeError::NotFound { .. })), "{absent:?}");
    // Without a class the server answers 500, which says nothing.
    let broken = node.object_after(&place("", None), FIRST).await;
    assert!(matches!(&broken, Err(NodeError::Unknown { detail, .. }) if detail.starts_with("500")), "{broken:?}");
}

async fn walk(node: &Client, place: &Place, from: &str) -> Vec<ObjectView> {
    let mut seen: Vec<ObjectView> = Vec::new();
    let mut after = from.to_owned();
    while let Some(next) = node.object_after(place, &after).await.unwrap() {
        assert!(next.id > after, "{} after {after}", next.id);
        after.clone_from(&next.id);
        seen.push(next);
    }
    seen
}

async fn counts(node: &Client, made: &Made, adapter: EvidenceAdapter) {
    let hot = place(&made.tenanted, Some("hot"));
    for (place, count) in [(made.article(), Made::ARTICLES), (hot.clone(), Made::HOT), (place(&made.vacant, None), 0)] {
        assert_eq!(node.count(adapter, &place, None).await.unwrap(), count as u64, "{place:?} by {adapter:?}");
    }
    let filters = [
        (made.article(), "n", json!(7), 1),
        (made.article(), "even", json!(true), 15),
        (made.article(), "title", json!("number 7"), 1),
        (made.article(), "title", json!("lifeboat"), 30),
        (made.article(), "code", json!("CODE 7"), 1),
        (made.article(), "code", json!("code"), 0),
        (made.article(), "n", json!(7_000), 0),
        (hot, "even", json!(false), 6),
    ];
    for (place, property, value, count) in filters {
        let filter = Equals { property: property.into(), value };
        assert_eq!(node.count(adapter, &place, Some(&filter)).await.unwrap(), count, "{filter:?} by {adapter:?}");
    }
    // A filter that does not fit the schema is refused, and never counted as nothing.
    for (property, value) in [("n", json!("7")), ("half", json!(3)), ("nothing", json!(1))] {
        let filter = Equals { property: property.into(), value };
        let refused = node.count(adapter, &made.article(), Some(&filter)).await;
        assert!(matches!(refused, Err(NodeError::Refused { .. })), "{filter:?} by {adapter:?}: {refused:?}");
    }
    // Nothing but stop words: an error by GraphQL, a 500 by REST.
    let filter = Equals { property: "title".into(), value: json!("the") };
    let refused = node.count(adapter, &made.article(), Some(&filter)).await;
    match adapter {
        EvidenceAdapter::Graphql => assert!(matches!(refused, Err(NodeError::Refused { .. })), "{refused:?}"),
        EvidenceAdapter::Rest => assert!(matches!(refused, Err(NodeError::Unknown { .. })), "{refused:?}"),
    }
    refuses_places(adapter, made, async |place| node.count(adapter, &place, None).await).await;
}

/// An INACTIVE tenant and a missing one are refused; a class and a tenant that are not there are told as such.
async fn refuses_places<T: std::fmt::Debug>(
    adapter: EvidenceAdapter,
    made: &Made,
    ask: impl AsyncFn(Place) -> Result<T, NodeError>,
) {
    for tenant in [Some("cold"), None] {
        let refused = ask(place(&made.tenanted, tenant)).await;
        assert!(matches!(refused, Err(NodeError::Refused { .. })), "{tenant:?} by {adapter:?}: {refused:?}");
    }
    for place in [place(&made.tenanted, Some("nobody")), place("NeverMade", None)] {
        let absent = ask(place.clone()).await;
        assert!(matches!(absent, Err(NodeError::NotFound { .. })), "{place:?} by {adapter:?}: {absent:?}");
    }
}

async fn finds(node: &Client, made: &Made, adapter: EvidenceAdapter) {
    let id = made.id(&made.article, 7);
    let near = node.near_object(adapter, &made.article(), &id, None, 10).await.unwrap();
    assert_eq!((near.len(), near[0].id.as_str()), (10, id.as_str()), "{adapter:?}");
    let hot = place(&made.tenanted, Some("hot"));
    let near = node.near_object(adapter, &hot, &made.id(&made.tenanted, 7), None, 3).await.unwrap();
    assert_eq!((near.len(), &near[0].id), (3, &made.id(&made.tenanted, 7)), "{adapter:?}");
    let best = node.bm25(adapter, &made.article(), "title", "number 7", 5).await.unwrap();
    assert_eq!((best.len(), best[0].id.as_str()), (5, id.as_str()), "{adapter:?}");
    assert!(best[0].score > best[1].score && best[1].score > 0.0, "{adapter:?}: {best:?}");
    let one = node.bm25(adapter, &made.article(), "code", "CODE 7", 5).await.unwrap();
    assert_eq!(one.iter().map(|h| &h.id).collect::<Vec<_>>(), [&id], "{adapter:?}: a field is one word");
    assert_eq!(node.bm25(adapter, &made.article(), "title", "zebra", 5).await.unwrap(), [], "{adapter:?}");
    let named = place(&made.named, None);
    for (what, refused) in [
        ("an object that is not there", node.near_object(adapter, &made.article(), &made.id("", 1), None, 3).await),
        ("which of two vectors", node.near_object(adapter, &named, &made.id(&made.named, 3), None, 3).await),
        ("a property without a word index", node.bm25(adapter, &made.article(), "n", "7", 3).await),
        ("a property that is not there", node.bm25(adapter, &made.article(), "nothing", "7", 3).await),
    ] {
        assert!(matches!(refused, Err(NodeError::Refused { .. })), "{what} by {adapter:?}: {refused:?}");
    }
    refuses_places(adapter, made, async |place| node.bm25(adapter, &place, "title", "number", 3).await).await;
}

async fn refuses_keys(server: &Server, made: &Made) {
    let stranger = server.node("no key of this server");
    assert!(stranger.ready().await.unwrap(), "readiness needs no key");
    let refused = stranger.schema().await.unwrap_err();
    assert!(matches!(refused, NodeError::Unauthorized { status: 401, .. }), "{refused}");
    let refused = stranger.count(EvidenceAdapter::Graphql, &made.article(), None).await.unwrap_err();
    assert!(matches!(refused, NodeError::Unauthorized { status: 401, .. }), "{refused}");
    let Some(key) = &server.reader_key else {
        say("NOT RUN: what a key that may only read is refused, because WEAVIATE_READER_KEY is not set");
        return;
    };
    let reader = server.node(key);
    assert_eq!(reader.count(EvidenceAdapter::Graphql, &made.article(), None).await.unwrap(), Made::ARTICLES as u64);
    let id = made.backup("reader");
    for refused in [
        reader.create_backup(&id, &made.names()).await.map(drop),
        reader.cancel_backup(&id).await,
        reader.start_restore(&id, &made.names()).await.map(drop),
        reader.cancel_restore(&id).await,
    ] {
        assert!(matches!(refused, Err(NodeError::Unauthorized { status: 403, .. })), "{refused:?}");
    }
}

async fn nobody_answers(server: &Server) {
    let nobody = HttpNodes::on_port(Fixed(server.key.clone()), 1).at(&server.address.ip().to_string());
    let silent = nobody.ready().await;
    assert!(matches!(silent, Err(NodeError::Unknown { .. })), "{silent:?}");
}

async fn backs_up(node: &Client, made: &Made) -> BackupId {
    let id = made.backup("whole");
    for missing in [node.backup_status(&id).await, node.restore_status(&id).await] {
        assert!(matches!(missing, Err(NodeError::NotFound { .. })), "{missing:?}");
    }
    let missing = node.start_restore(&id, &made.names()).await;
    assert!(matches!(missing, Err(NodeError::NotFound { .. })), "{missing:?}");
    let refused = node.create_backup(&id, &["NeverMade".to_owned()]).await;
    assert!(matches!(refused, Err(NodeError::Refused { status: 422, .. })), "{refused:?}");

    let accepted = node.create_backup(&id, &made.names()).await.unwrap();
    took_all(accepted, made);
    let second = node.create_backup(&made.backup("second"), &made.names()).await;
    assert!(matches!(second, Err(NodeError::Refused { status: 422, .. })), "{second:?}");
    assert_eq!(ended(async || node.backup_status(&id).await.unwrap().status).await, OperationStatus::Success);
    let listed = node.list_backups().await.unwrap();
    assert!(listed.contains(&(id.to_string(), OperationStatus::Success)), "{listed:?}");
    let again = node.create_backup(&id, &made.names()).await;
    assert!(matches!(again, Err(NodeError::Refused { status: 422, .. })), "an id serves once: {again:?}");
    let late = node.cancel_backup(&id).await;
    assert!(matches!(late, Err(NodeError::Refused { status: 422, .. })), "it has succeeded: {late:?}");
    id
}

async fn cancels(node: &Client, made: &Made) {
    node.cancel_backup(&made.backup("never-made")).await.unwrap();
    node.cancel_restore(&made.backup("never-made")).await.unwrap();
    let id = made.backup("cancelled");
    node.create_backup(&id, &made.names()).await.unwrap();
    node.cancel_backup(&id).await.unwrap();
    assert_eq!(ended(async || node.backup_status(&id).await.unwrap().status).await, OperationStatus::Canceled);
    for refused in [node.start_restore(&id, &made.names()).await, node.create_backup(&id, &made.names()).await] {
        assert!(matches!(refused, Err(NodeError::Refused { status: 422, .. })), "{refused:?}");
    }
}

async fn restores(node: &Client, made: &Made, id: &BackupId) {
    // The classes are there, so the restore is taken, and fails only at its end.
    node.start_restore(id, &made.names()).await.unwrap();
    assert_eq!(ended(async || node.restore_status(id).await.unwrap().status).await, OperationStatus::Failed);
    let error = node.restore_status(id).await.unwrap().error;
    assert!(error.contains("already exists"), "{error}");
    let refused = node.start_restore(id, &["NeverMade".to_owned()]).await;
    assert!(matches!(refused, Err(NodeError::Refused { status: 422, .. })), "{refused:?}");

    let before = node.object(&made.article(), &made.id(&made.article, 7)).await.unwrap();
    let definitions = definitions(node, made).await;
    made.remove_classes().await;
    assert_eq!(node.aliases().await.unwrap().get(&made.alias), Some(&made.article), "an alias outlives its class");
    took_all(node.start_restore(id, &made.names()).await.unwrap(), made);
    assert_eq!(ended(async || node.restore_status(id).await.unwrap().status).await, OperationStatus::Success);
    assert_eq!(node.object(&made.article(), &made.id(&made.article, 7)).await.unwrap(), before);
    assert_eq!(self::definitions(node, made).await, definitions);
    shows_its_schema(node, made).await;
    gives_objects_by_id(node, made).await;
    for adapter in [node.evidence_adapter().await.unwrap(), EvidenceAdapter::Graphql] {
        counts(node, made, adapter).await;
        finds(node, made, adapter).await;
    }
}

async fn definitions(node: &Client, made: &Made) -> Vec<(String, Value)> {
    let schema = node.schema().await.unwrap();
    schema.into_iter().filter(|c| made.names().contains(&c.name)).map(|c| (c.name, c.definition)).collect()
}

fn took_all(accepted: Accepted, made: &Made) {
    let mut classes = accepted.classes;
    classes.sort_unstable();
    assert_eq!((classes, accepted.status), (made.names(), OperationStatus::Started));
}

/// Polls a restore or backup to its end.
async fn ended(poll: impl AsyncFn() -> OperationStatus) -> OperationStatus {
    for _ in 0..200 {
        match poll().await {
            OperationStatus::Started
            | OperationStatus::Transferring
            | OperationStatus::Transferred
            | OperationStatus::Cancelling
            | OperationStatus::Finalizing => SystemClock.sleep(Duration::from_millis(150)).await,
            status @ (OperationStatus::Success
            | OperationStatus::Failed
            | OperationStatus::Canceled
            | OperationStatus::Unknown(_)) => return status,
        }
    }
    panic!("it does not end");
}

fn place(class: &str, tenant: Option<&str>) -> Place {
    Place { class: class.to_owned(), tenant: tenant.map(str::to_owned) }
}

/// Tells the person who runs the tests.
#[expect(clippy::print_stderr, reason = "a test that did not run must not look like one that did")]
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}
