//! Schema, objects, tenants, searching and counting.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Scratch, id, message, object, plan};

#[tokio::test(flavor = "multi_thread")]
async fn objects_and_vectors_survive_a_kill_bit_for_bit() {
    let scratch = Scratch::new();
    let node = plan(&scratch, "d").env("LIFEBOAT_NODE_SEGMENT_BYTES", "2000").start();
    node.fill("Article", 50).await;
    node.delete(&format!("/v1/objects/Article/{}", id(7))).await;
    let all = "/v1/objects?class=Article&limit=100&include=vector";
    let before = node.raw(Method::GET, all, None).await.1;
    node.kill();
    let again = plan(&scratch, "d").start();
    assert_eq!(again.count("Article").await, 49);
    assert_eq!(again.raw(Method::GET, all, None).await.1, before);
    assert!(before.contains("\"vector\":[0.1,1.0,1.0]"), "the shortest form of 32-bit floats: {before}");
    let none = again.raw(Method::GET, &format!("/v1/objects?class=Article&limit=1&after={}", id(0xffff)), None).await.1;
    assert_eq!(none, "{\"deprecations\":[],\"objects\":[]}");
    assert_eq!(again.get("/v1/nodes").await.1["nodes"][0]["batchStats"]["ratePerSecond"], 0);
    again.post("/v1/batch/objects", json!({"objects": [object("Article", 99)]})).await;
    assert_eq!(again.get("/v1/nodes").await.1["nodes"][0]["batchStats"]["ratePerSecond"], 1, "a left-over, not a rate");
}

#[tokio::test(flavor = "multi_thread")]
async fn single_objects_are_created_read_replaced_and_removed() {
    let scratch = Scratch::new();
    let node = plan(&scratch, "d").start();
    node.fill("Article", 1).await;
    let path = format!("/v1/objects/Article/{}", id(5));
    assert_eq!(node.get(&path).await.0, 404);
    assert_eq!(node.post("/v1/objects", object("Article", 5)).await.0, 200);
    let (status, answer) = node.post("/v1/objects", object("Article", 5)).await;
    assert_eq!((status.as_u16(), message(&answer)), (422, format!("id '{}' already exists", id(5)).as_str()));
    assert_eq!(node.send(Method::HEAD, &path, None).await.0, 204);
    let (_, plain) = node.get(&path).await;
    assert!(plain.get("vector").is_none());
    assert_eq!(node.get(&format!("{path}?include=vector")).await.1["vector"], json!([0.5, 1.0, 2.0]));
    let new = json!({"properties": {"title": "new"}, "vector": [1, 2, 3]});
    assert_eq!(node.send(Method::PUT, &path, Some(&new)).await.0, 200);
    assert_eq!(node.get(&path).await.1["properties"], json!({"title": "new"}));
    assert_eq!(node.delete(&path).await.0, 204);
    assert_eq!(node.delete(&path).await.0, 204, "done already");
    let (status, answer) = node.post("/v1/objects", json!({"class": "Article", "vector": [1, 2]})).await;
    assert_eq!(status, 500);
    assert!(message(&answer).contains("vector lengths don't match"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_answers_each_object_in_its_place_and_auto_schema_makes_classes() {
    let scratch = Scratch::new();
    let node = plan(&scratch, "d").start();
    let unfit = json!({"class": "Made", "id": id(9), "properties": {"title": 7}});
    let objects = json!({"objects": [object("Made", 1), unfit, object("Made", 2)]});
    let (status, answers) = node.post("/v1/batch/objects", objects).await;
    assert_eq!(status, 200);
    let results: Vec<&Value> = answers.as_array().unwrap().iter().map(|answer| &answer["result"]["status"]).collect();
    assert_eq!(results, ["SUCCESS", "FAILED", "SUCCESS"]);
    assert_eq!(node.count("Made").await, 2);
    let whole = json!({"objects": [object("Made", 3), {"class": "Made", "id": "broken"}]});
    let (status, refused) = node.post("/v1/batch/objects", whole).await;
    assert_eq!(
        (status, &refused["code"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!(601)),
        "a bad id refuses the batch"
    );
    assert_eq!(node.count("Made").await, 2);
    let (_, class) = node.get("/v1/schema/Made").await;
    assert!(
        class["properties"]
            .as_array()
            .unwrap()
            .iter()
            .any(|p| p["name"] == "title" && p["dataType"] == json!(["text"]))
    );
    assert_eq!(class["vectorIndexConfig"]["distance"], "cosine");
    assert_eq!(node.delete("/v1/schema/Made").await.0, 200);
    assert_eq!(node.get("/v1/schema/Made").await.0, 404);
    assert!(!scratch.sub("d/made").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cursor_walks_by_id_and_takes_an_id_that_does_not_exist() {
    let scratch = Scratch::new();
    let node = plan(&scratch, "d").start();
    node.fill("Article", 10).await;
    let ids = |answer: &Value| -> Vec<String> {
        answer["objects"].as_array().unwrap().iter().map(|o| o["id"].as_str().unwrap().to_owned()).collect()
    };
    let (_, page) = node.get(&format!("/v1/objects?class=Article&limit=2&after={}", id(3))).await;
    assert_eq!(ids(&page), [id(4), id(5)]);
    node.delete(&format!("/v1/objects/Article/{}", id(4))).await;
    let (_, page) = node.get(&format!("/v1/objects?class=Article&limit=1&after={}", id(4))).await;
    assert_eq!(ids(&page), [id(5)]);
    let (_, page) = node.get("/v1/objects?class=Article&limit=3&after=").await;
    assert_eq!(ids(&page), [id(0), id(1), id(2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn graphql_counts_searches_and_fails_with_status_200() {
    let scratch = Scratch::new();
    let node = plan(&scratch, "d").start();
    let (status, answer) = node.post("/v1/graphql", json!({"query": "{Aggregate{Article{meta{count}}}}"})).await;
    assert_eq!(status, 422);
    assert!(message(&answer).starts_with("no graphql provider present"));
    node.fill("Article", 21).await;
    let ask = async |query: &str| node.post("/v1/graphql", json!({"query": query})).await.1;
    let filtered = ask("{Aggregate{Article(where:{path:[\"n\"],operator:LessThan,valueInt:5}){meta{count}}}}").await;
    assert_eq!(filtered["data"]["Aggregate"]["Article"][0]["meta"]["count"], 5);
    let words =
        ask("{Get{Article(limit:10,bm25:{query:\"word3\",properties:[\"title\"]}){_additional{id score}}}}").await;
    let hits = words["data"]["Get"]["Article"].as_array().unwrap();
    assert_eq!(hits.len(), 3);
    assert!(hits[0]["_additional"]["score"].as_str().unwrap().parse::<f64>().unwrap() > 0.0);
    let near =
        ask(&format!("{{Get{{Article(limit:3,nearObject:{{id:\"{}\"}}){{_additional{{id distance}}}}}}}}", id(9)))
            .await;
    assert_eq!(near["data"]["Get"]["Article"][0]["_additional"]["id"], id(9));
    assert_eq!(near["data"]["Get"]["Article"][0]["_additional"]["distance"], 0);
    let unknown = ask("{Aggregate{Nope{meta{count}}}}").await;
    assert!(unknown["errors"][0]["message"].as_str().unwrap().starts_with("Cannot query field \"Nope\""));
    let (status, broken) = node.post("/v1/graphql", json!({"query": "{Aggregate"})).await;
    assert_eq!(status, 200);
    assert!(broken["errors"][0]["message"].as_str().unwrap().contains("Syntax Error"));
}

#[tokio::test(flavor = "multi_thread")]
async fn graphql_can_be_off_and_rest_search_is_there_by_version_and_flag() {
    let scratch = Scratch::new();
    let old = plan(&scratch, "a").env("DISABLE_GRAPHQL", "true").env("LIFEBOAT_NODE_VERSION", "1.38.9").start();
    old.fill("Article", 3).await;
    let (status, answer) = old.post("/v1/graphql", json!({"query": "{Aggregate{Article{meta{count}}}}"})).await;
    assert_eq!((status.as_u16(), message(&answer)), (422, "graphql api is disabled"));
    assert_eq!(old.post("/v1/aggregate/Article", json!({})).await.0, 404);
    let early = plan(&scratch, "b").env("LIFEBOAT_NODE_VERSION", "1.39.6").start();
    early.fill("Article", 3).await;
    assert_eq!(early.post("/v1/aggregate/Article", json!({})).await.0, 422);
    let new = plan(&scratch, "c").env("LIFEBOAT_NODE_VERSION", "1.40.4").start();
    new.fill("Article", 21).await;
    let (status, answer) = new
        .post("/v1/aggregate/Article", json!({"where": {"path": ["n"], "operator": "GreaterThan", "valueInt": 18}}))
        .await;
    assert_eq!((status.as_u16(), &answer["count"]), (200, &json!(2)));
    let near = json!({"id": id(4), "limit": 2, "returnMetadata": ["distance"], "returnProperties": ["n"]});
    let (_, answer) = new.post("/v1/search/Article/near-object", near).await;
    assert_eq!(
        answer["results"][0],
        json!({"id": id(4), "properties": {"n": 4}, "metadata": {"distance": 5.9604645e-8}})
    );
    assert_eq!(new.post("/v1/search/Article/near-object", json!({"id": id(999)})).await.0, 400);
    let (_, answer) =
        new.post("/v1/search/Article/bm25", json!({"query": "word2", "queryProperties": ["title"]})).await;
    assert_eq!(answer["results"].as_array().unwrap().len(), 3);
    assert_eq!(new.post("/v1/aggregate/Nope", json!({})).await.0, 404);
    let forced = plan(&scratch, "e").env("EXPERIMENTAL_REST_SEARCH_ENABLED", "true").start();
    forced.fill("Article", 3).await;
    assert_eq!(forced.post("/v1/aggregate/Article", json!({})).await.1["count"], 3, "1.38.11 has it behind the flag");
    let without = plan(&scratch, "f")
        .env("LIFEBOAT_NODE_VERSION", "1.39.0")
        .env("EXPERIMENTAL_REST_SEARCH_ENABLED", "true")
        .start();
    without.fill("Article", 3).await;
    assert_eq!(without.post("/v1/aggregate/Article", json!({})).await.0, 404, "1.39.0 does not");
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_sleep_wake_and_are_asked_for_by_name() {
    let scratch = Scratch::new();
    let node = plan(&scratch, "d").start();
    node.post("/v1/schema", json!({"class": "Multi", "multiTenancyConfig": {"enabled": true}})).await;
    let tenants = json!([{"name": "a"}, {"name": "b", "activityStatus": "COLD"}]);
    assert_eq!(node.post("/v1/schema/Multi/tenants", tenants).await.0, 200);
    let mut first = object("Multi", 1);
    let (status, answer) = node.post("/v1/objects", first.clone()).await;
    assert_eq!(
        (status.as_u16(), message(&answer)),
        (422, "class Multi has multi-tenancy enabled, but request was without tenant")
    );
    first["tenant"] = json!("b");
    let (status, answer) = node.post("/v1/objects", first.clone()).await;
    assert_eq!((status.as_u16(), message(&answer)), (422, "determine shard: tenant not active: 'b'"));
    first["tenant"] = json!("a");
    assert_eq!(node.post("/v1/objects", first).await.1["tenant"], "a");
    let ask = async |tenant: &str| {
        let query = format!("{{Aggregate{{Multi(tenant:\"{tenant}\"){{meta{{count}}}}}}}}");
        node.post("/v1/graphql", json!({"query": query})).await.1
    };
    assert_eq!(ask("a").await["data"]["Aggregate"]["Multi"][0]["meta"]["count"], 1);
    assert_eq!(ask("b").await["errors"][0]["message"], "tenant not active: 'b'");
    let off = json!([{"name": "a", "activityStatus": "OFFLOADED"}]);
    assert_eq!(node.send(Method::PUT, "/v1/schema/Multi/tenants", Some(&off)).await.0, 422, "no offload module");
    let sleep = json!([{"name": "a", "activityStatus": "INACTIVE"}]);
    assert_eq!(node.send(Method::PUT, "/v1/schema/Multi/tenants", Some(&sleep)).await.0, 200);
    let (_, list) = node.get("/v1/schema/Multi/tenants").await;
    assert_eq!(list, json!([{"name": "a", "activityStatus": "COLD"}, {"name": "b", "activityStatus": "COLD"}]));
    let (status, answer) = node.get("/v1/schema/Multi/shards").await;
    assert_eq!(status, 500, "shards of a class with a sleeping tenant cannot be had");
    assert_eq!(message(&answer), "shard a: status code: 500 body: (local a shard not found\n)");
    let wake = json!([{"name": "a", "activityStatus": "ACTIVE"}]);
    node.send(Method::PUT, "/v1/schema/Multi/tenants", Some(&wake)).await;
    assert_eq!(ask("a").await["data"]["Aggregate"]["Multi"][0]["meta"]["count"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn node_counts_lag_behind_what_aggregation_counts() {
    let scratch = Scratch::new();
    let node = plan(&scratch, "d").env("LIFEBOAT_NODE_FLUSH_SECONDS", "1").start();
    node.fill("Article", 10).await;
    assert_eq!(node.count("Article").await, 10);
    let shard = async || node.get("/v1/nodes?output=verbose").await.1["nodes"][0]["shards"][0].clone();
    assert_eq!(shard().await["objectCount"], 0);
    for _ in 0..500 {
        if shard().await["objectCount"] == 10 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("never flushed");
}

#[tokio::test(flavor = "multi_thread")]
async fn named_vectors_are_kept_apart() {
    let scratch = Scratch::new();
    let node = plan(&scratch, "d").start();
    let vectors = json!({"one": {"vectorizer": {"none": {}}}, "two": {"vectorizer": {"none": {}}}});
    node.post("/v1/schema", json!({"class": "Named", "vectorConfig": vectors})).await;
    let sent = json!({"class": "Named", "id": id(1), "vectors": {"one": [1.5, 2], "two": [3, 4, 5]}});
    assert_eq!(node.post("/v1/objects", sent).await.0, 200);
    node.kill();
    let node = plan(&scratch, "d").start();
    let (_, read) = node.get(&format!("/v1/objects/Named/{}?include=vector", id(1))).await;
    assert_eq!(read["vectors"], json!({"one": [1.5, 2.0], "two": [3.0, 4.0, 5.0]}));
}
