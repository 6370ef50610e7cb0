//! Named vectors, references, quantizers and names of every allowed character, with the answers of a real 1.38.11.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Node, Scratch, id, message, plan};

const CLASS: &str = "A_BCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const TENANT: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const NAME: &str = "_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

async fn made(node: &Node) {
    let article = json!({"class": "Article", "properties": [{"name": "title", "dataType": ["text"]}]});
    assert_eq!(node.post("/v1/schema", article).await.0, 200);
    let passage = json!({"class": "Passage", "vectorIndexConfig": {"bq": {"enabled": true}}, "properties": [
        {"name": "title", "dataType": ["text"]}, {"name": "of", "dataType": ["Article"]},
        {"name": "any", "dataType": ["Article", "Passage"]}]});
    assert_eq!(node.post("/v1/schema", passage).await.0, 200);
    let named = json!({"class": CLASS, "multiTenancyConfig": {"enabled": true},
        "vectorConfig": {NAME: {"vectorizer": {"none": {}}}, "title": {"vectorizer": {"none": {}}}},
        "properties": [{"name": NAME, "dataType": ["text"]}, {"name": "_n", "dataType": ["int"]}]});
    assert_eq!(node.post("/v1/schema", named).await.0, 200);
    let tenants = json!([{"name": TENANT}, {"name": "acme"}, {"name": "Acme"}, {"name": "-"}, {"name": "_"}]);
    assert_eq!(node.post(&format!("/v1/schema/{CLASS}/tenants"), tenants).await.0, 200);
    assert_eq!(node.post("/v1/objects", json!({"class": "Article", "id": id(1), "vector": [1, 2]})).await.0, 200);
    for tenant in [TENANT, "acme", "Acme"] {
        let objects: Vec<Value> = (0..3)
            .map(|n| {
                json!({"class": CLASS, "tenant": tenant, "id": id(n), "vectors": {NAME: [n, 1], "title": [1, n, 2]},
                "properties": {NAME: format!("raven {n}"), "_n": n}})
            })
            .collect();
        let (_, answers) = node.post("/v1/batch/objects", json!({"objects": objects})).await;
        assert!(answers.as_array().unwrap().iter().all(|a| a["result"]["status"] == "SUCCESS"), "{answers}");
    }
}

fn passage(n: usize, properties: &Value) -> Value {
    json!({"class": "Passage", "id": id(100 + n), "vector": [1, 2], "properties": properties})
}

#[tokio::test(flavor = "multi_thread")]
async fn references_are_kept_as_beacons_of_objects_that_exist_and_shown_with_a_link() {
    let scratch = Scratch::new();
    let node = plan(&scratch, "d").start();
    made(&node).await;
    let (beacon, href) = (format!("weaviate://localhost/Article/{}", id(1)), format!("/v1/objects/Article/{}", id(1)));
    let bare = format!("weaviate://localhost/{}", id(1));
    let (status, shown) = node.post("/v1/objects", passage(0, &json!({"of": [{"beacon": bare, "href": "/z"}]}))).await;
    assert_eq!((status.as_u16(), &shown["properties"]["of"]), (200, &json!([{"beacon": beacon, "href": href}])));
    let (_, both) = node.post("/v1/objects", passage(1, &json!({"any": [{"beacon": bare}]}))).await;
    assert_eq!(both["properties"]["any"][0]["beacon"], bare, "which of two classes is not known");
    let missing = format!("weaviate://localhost/Article/{}", id(9));
    for (sent, said) in [
        (json!([{"beacon": missing}]), format!("invalid cref: 'cref' Passage:of: no object with id {} found", id(9))),
        (
            json!([{"beacon": "nonsense"}]),
            "invalid cref URI: path must be of format '<class>/<uuid>', but got 'nonsense'".into(),
        ),
        (
            json!([{"beacon": "weaviate://localhost/Article/xyz"}]),
            "invalid cref URI: 2nd path segment must be uuid, but got 'xyz'".into(),
        ),
        (json!("x"), "reference property is not a slice x".into()),
        (json!([{}]), "beacon property is not a string: <nil>".into()),
    ] {
        let object = passage(2, &json!({"of": sent}));
        let (status, refused) = node.post("/v1/objects", object.clone()).await;
        assert_eq!((status.as_u16(), message(&refused)), (422, format!("invalid object: {said}").as_str()));
        let (_, answers) = node.post("/v1/batch/objects", json!({"objects": [object]})).await;
        assert_eq!(answers[0]["result"]["errors"]["error"][0]["message"], said);
    }
    let nowhere = json!({"class": "Bad", "properties": [{"name": "of", "dataType": ["Nope"]}]});
    let (status, refused) = node.post("/v1/schema", nowhere).await;
    assert_eq!((status.as_u16(), message(&refused)), (422, "bad request: reference property to nonexistent class"));

    let path = format!("/v1/objects/Passage/{}/references/of", id(100));
    assert_eq!(node.post(&path, json!({"beacon": beacon})).await.0, 200);
    let of = async || node.get(&format!("/v1/objects/Passage/{}", id(100))).await.1["properties"]["of"].clone();
    assert_eq!(of().await.as_array().unwrap().len(), 2, "twice is twice");
    assert_eq!(node.send(Method::PUT, &path, Some(&json!([{"beacon": bare}]))).await.0, 200);
    assert_eq!(of().await, json!([{"beacon": beacon, "href": href}]));
    assert_eq!(node.send(Method::DELETE, &path, Some(&json!({"beacon": beacon}))).await.0, 204);
    assert_eq!(of().await, json!([]));
    assert_eq!(node.post(&path.replace(&id(100), &id(7)), json!({"beacon": beacon})).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_brings_back_named_vectors_references_and_names_of_every_allowed_character() {
    let scratch = Scratch::new();
    let node = plan(&scratch, "d").start();
    made(&node).await;
    let beacon = format!("weaviate://localhost/Article/{}", id(1));
    node.post("/v1/objects", passage(0, &json!({"title": "ember", "of": [{"beacon": beacon}]}))).await;
    let asleep = json!([{"name": "acme", "activityStatus": "INACTIVE"}]);
    assert_eq!(node.send(Method::PUT, &format!("/v1/schema/{CLASS}/tenants"), Some(&asleep)).await.0, 200);
    let shown = async |node: &Node| {
        let mut all = vec![node.get("/v1/schema").await.1, node.get(&format!("/v1/schema/{CLASS}/tenants")).await.1];
        all.push(node.get(&format!("/v1/objects/Passage/{}?include=vector", id(100))).await.1);
        for tenant in [TENANT, "Acme"] {
            for n in 0..3 {
                let path = format!("/v1/objects/{CLASS}/{}?include=vector&tenant={tenant}", id(n));
                all.push(node.get(&path).await.1);
            }
        }
        let near = format!(
            "{{Get{{{CLASS}(tenant:\"{TENANT}\",nearObject:{{id:\"{}\",targetVectors:[\"{NAME}\"]}},limit:3){{_additional{{id distance}}}}}}}}",
            id(1)
        );
        all.push(node.post("/v1/graphql", json!({"query": near})).await.1);
        all
    };
    let before = shown(&node).await;
    assert_eq!(before[3]["vectors"], json!({NAME: [0.0, 1.0], "title": [1.0, 0.0, 2.0]}));
    assert_eq!(before.last().unwrap()["data"]["Get"][CLASS][0]["_additional"]["id"], id(1), "{before:?}");
    assert_eq!(node.backup("rich").await["status"], "SUCCESS");
    node.kill();
    let again = plan(&scratch, "new").start();
    assert_eq!(again.restore("rich").await["status"], "SUCCESS");
    assert_eq!(shown(&again).await, before);
    let nodes = again.get("/v1/nodes?output=verbose").await.1;
    let compressed = |class: &str| {
        let shards = nodes["nodes"][0]["shards"].as_array().unwrap().iter();
        shards.filter(|s| s["class"] == class).map(|s| s["compressed"].clone()).collect::<Vec<_>>()
    };
    assert_eq!((compressed("Passage"), compressed("Article")), (vec![json!(true)], vec![json!(false)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vector_that_the_class_does_not_have_is_refused_and_classes_and_objects_change_in_place() {
    let scratch = Scratch::new();
    let node = plan(&scratch, "d").start();
    made(&node).await;
    for (vectors, said) in [
        (json!({"vector": [1, 2]}), format!("collection {CLASS} configuration does not have single vector index")),
        (json!({"vectors": {"no": [1]}}), format!("collection {CLASS} does not have configuration for vector no")),
    ] {
        let mut object = json!({"class": CLASS, "tenant": "acme", "id": id(50)});
        object.as_object_mut().unwrap().extend(vectors.as_object().unwrap().clone());
        let (_, answers) = node.post("/v1/batch/objects", json!({"objects": [object]})).await;
        assert_eq!(answers[0]["result"]["errors"]["error"][0]["message"], said);
    }
    let path = format!("/v1/objects/Article/{}", id(1));
    assert_eq!(node.send(Method::PATCH, &path, Some(&json!({"properties": {"title": "y"}}))).await.0, 204);
    let patched = node.get(&format!("{path}?include=vector")).await.1;
    assert_eq!((&patched["properties"], &patched["vector"]), (&json!({"title": "y"}), &json!([1.0, 2.0])));
    assert_eq!(node.send(Method::PATCH, &path.replace(&id(1), &id(9)), Some(&json!({}))).await.0, 404);

    let more = json!({"name": "more", "dataType": ["text"]});
    assert_eq!(node.post("/v1/schema/Article/properties", more.clone()).await.0, 200);
    let (status, refused) = node.post("/v1/schema/Article/properties", more).await;
    assert_eq!(status, 422);
    assert!(message(&refused).contains("conflict for property \"more\""), "{refused}");
    let mut class = node.get("/v1/schema/Article").await.1;
    class["vectorIndexConfig"]["bq"]["enabled"] = json!(true);
    assert_eq!(node.send(Method::PUT, "/v1/schema/Article", Some(&class)).await.0, 200);
    assert_eq!(node.get("/v1/schema/Article").await.1, class);
    class["vectorIndexConfig"]["distance"] = json!("dot");
    let (status, refused) = node.send(Method::PUT, "/v1/schema/Article", Some(&class)).await;
    assert_eq!(status, 422);
    assert!(message(&refused).contains("attempted change from \"cosine\" to \"dot\""), "{refused}");
    let (status, _) = node.raw(Method::HEAD, &format!("/v1/schema/{CLASS}/tenants/acme"), None).await;
    assert_eq!(status, 200);
    assert_eq!(node.raw(Method::HEAD, &format!("/v1/schema/{CLASS}/tenants/nobody"), None).await.0, 404);
}
