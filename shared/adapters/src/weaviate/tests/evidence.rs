use serde_json::json;

use super::*;

const REST: EvidenceAdapter = EvidenceAdapter::Rest;
const GRAPHQL: EvidenceAdapter = EvidenceAdapter::Graphql;

fn equals(property: &str, value: Value) -> Equals {
    Equals { property: property.into(), value }
}

fn one_class() -> Reply {
    Reply::new(200, r#"{"classes":[{"class":"Article"}]}"#)
}

#[tokio::test]
async fn a_count_is_read_from_either_api() {
    let server =
        replaying(&["graphql-aggregate-article", "graphql-aggregate-tenant-active", "restsearch-aggregate-Article"])
            .await;
    let n = node(&server);
    assert_eq!(n.count(GRAPHQL, &place("Article", None), None).await.unwrap(), 1_000);
    assert_eq!(n.count(GRAPHQL, &place("Tenanted", Some("tactive")), None).await.unwrap(), 300);
    assert_eq!(n.count(REST, &place("Article", None), None).await.unwrap(), 110);
    let asked = server.asked();
    for (n, name) in ["graphql-aggregate-article", "graphql-aggregate-tenant-active", "restsearch-aggregate-Article"]
        .iter()
        .enumerate()
    {
        let request = sample(name)["request"].clone();
        assert_eq!(asked[n].line, format!("POST {}", request["path"].as_str().unwrap()));
        assert_eq!(asked[n].json(), request["body"]);
    }
}

#[tokio::test]
async fn a_filter_names_its_type_in_either_api() {
    let server = Server::replying(
        (0..6).map(|n| if n < 3 { Reply::new(200, r#"{"count":1}"#) } else { recorded("graphql-aggregate-article") }),
    )
    .await;
    let n = node(&server);
    let values = [json!("a\"b"), json!(7), json!(true)];
    for value in &values {
        n.count(REST, &place("Article", Some("t")), Some(&equals("p", value.clone()))).await.unwrap();
    }
    for value in &values {
        n.count(GRAPHQL, &place("Article", None), Some(&equals("p", value.clone()))).await.unwrap();
    }
    let asked = server.asked();
    assert_eq!(
        asked[0].json(),
        json!({"tenant": "t", "where": {"path": ["p"], "operator": "Equal", "valueText": "a\"b"}})
    );
    assert_eq!(asked[1].json()["where"]["valueInt"], 7);
    assert_eq!(asked[2].json()["where"]["valueBoolean"], true);
    assert_eq!(
        asked[3].json()["query"],
        r#"{Aggregate{Article(where:{path:["p"],operator:Equal,valueText:"a\"b"}){meta{count}}}}"#
    );
    assert_eq!(
        asked[4].json()["query"],
        r#"{Aggregate{Article(where:{path:["p"],operator:Equal,valueInt:7}){meta{count}}}}"#
    );
    for value in [json!(1.5), json!(null), json!([1])] {
        assert!(n.count(REST, &place("A", None), Some(&equals("p", value))).await.is_err());
    }
    assert_eq!(server.asked().len(), 6);
}

#[tokio::test]
async fn values_are_quoted_and_class_names_are_names_so_no_query_can_be_smuggled_in() {
    let server = Server::replying([recorded("graphql-bm25")]).await;
    let n = node(&server);
    n.bm25(GRAPHQL, &place("Article", Some("t\")")), "title", "x\"]}){}}\n{", 3).await.unwrap();
    assert_eq!(
        server.asked()[0].json()["query"],
        "{Get{Article(tenant:\"t\\\")\",bm25:{query:\"x\\\"]}){}}\\n{\",properties:[\"title\"]},limit:3){_additional{id score}}}}"
    );
    for class in ["Article{x}", "A b", "", "1A", "Ä", "a:B"] {
        let error = n.count(GRAPHQL, &place(class, None), None).await.unwrap_err();
        assert!(error.to_string().contains("no GraphQL name"), "{class}: {error}");
    }
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn hits_come_best_first_with_their_ids_from_either_api() {
    let server = replaying(&["graphql-bm25", "graphql-nearobject", "restsearch-search-near-object"]).await;
    let n = node(&server);
    let hits = n.bm25(GRAPHQL, &place("Article", None), "title", "lifeboat 42", 3).await.unwrap();
    assert_eq!(hits[0], Hit { id: "3eeb860d-d15f-5bec-ab4c-fde4e66ee975".into(), score: 2.956_267_8 });
    assert_eq!(hits.len(), 3);
    let own = "c0b11a96-4ccc-52dd-857c-7112275efb17";
    let near = n.near_object(GRAPHQL, &place("Article", None), own, None, 3).await.unwrap();
    assert_eq!((near.len(), near[0].id.as_str()), (3, own));
    let own = "fcd6504e-e343-5a93-8156-ddaffe6350d8";
    let near = n.near_object(REST, &place("Article", None), own, None, 2).await.unwrap();
    assert_eq!((near.len(), near[0].id.as_str()), (2, own));
    let asked = server.asked();
    assert_eq!(
        asked[1].json()["query"],
        "{Get{Article(nearObject:{id:\"c0b11a96-4ccc-52dd-857c-7112275efb17\"},limit:3){_additional{id}}}}"
    );
    assert_eq!(asked[2].line, "POST /v1/search/Article/near-object");
    assert_eq!(asked[2].json(), json!({"id": own, "limit": 2, "returnProperties": [], "returnMetadata": ["distance"]}));
}

#[tokio::test]
async fn a_named_vector_is_named_to_either_api() {
    let server = replaying(&["graphql-nearobject", "restsearch-search-near-object"]).await;
    let n = node(&server);
    n.near_object(GRAPHQL, &place("Article", None), "x", Some("ti\"tle"), 3).await.unwrap();
    n.near_object(REST, &place("Article", None), "x", Some("title"), 2).await.unwrap();
    let asked = server.asked();
    assert_eq!(
        asked[0].json()["query"],
        r#"{Get{Article(nearObject:{id:"x",targetVectors:["ti\"tle"]},limit:3){_additional{id}}}}"#
    );
    assert_eq!(asked[1].json()["targetVector"], "title");
}

#[tokio::test]
async fn bm25_by_rest_names_the_property_and_asks_for_the_score() {
    let body = json!({"results": [{"id": "x", "properties": {}, "metadata": {"score": 1.5}}], "tookMs": 0});
    let server = Server::replying([Reply::new(200, body.to_string()), recorded("restsearch-search-bm25")]).await;
    let n = node(&server);
    let hits = n.bm25(REST, &place("A", Some("t")), "title", "q", 5).await.unwrap();
    assert_eq!(hits, [Hit { id: "x".into(), score: 1.5 }]);
    let asked = server.asked();
    assert_eq!(asked[0].line, "POST /v1/search/A/bm25");
    assert_eq!(
        asked[0].json(),
        json!({"query": "q", "queryProperties": ["title"], "limit": 5, "tenant": "t", "returnProperties": [], "returnMetadata": ["score"]})
    );
    assert!(matches!(n.bm25(REST, &place("A", None), "n", "q", 5).await, Err(NodeError::Refused { status: 422, .. })));
}

#[tokio::test]
async fn graphql_errors_that_come_with_200_are_errors() {
    for (name, expected) in [
        ("graphql-aggregate-unknown-class", "not found"),
        ("graphql-aggregate-tenant-unknown", "not found"),
        ("graphql-aggregate-tenant-inactive", "refused"),
        ("graphql-aggregate-tenant-missing-arg", "refused"),
        ("graphql-empty-schema", "refused"),
    ] {
        let server = replaying(&[name]).await;
        let error = node(&server).count(GRAPHQL, &place("Tenanted", None), None).await.unwrap_err();
        let kind = match error {
            NodeError::NotFound { .. } => "not found",
            NodeError::Refused { .. } => "refused",
            NodeError::Unauthorized { .. } | NodeError::Unknown { .. } => "other",
        };
        assert_eq!(kind, expected, "{name}");
    }
    for body in [
        r#"{"data":{"Aggregate":{"A":[{"meta":{"count":1}}]}},"errors":[{"message":"context deadline exceeded"}]}"#,
        r#"{"data":null}"#,
        r#"{"data":{"Aggregate":{"A":[]}}}"#,
        r#"{"data":{"Aggregate":{"A":[{"meta":{"count":-1}}]}}}"#,
    ] {
        let server = Server::replying([Reply::new(200, body)]).await;
        let error = node(&server).count(GRAPHQL, &place("A", None), None).await.unwrap_err();
        assert!(matches!(error, NodeError::Unknown { .. }), "{body}: {error}");
    }
}

#[tokio::test]
async fn rest_is_taken_where_it_counts_and_graphql_where_rest_is_missing_off_or_behind_the_read_only_gate() {
    let server = Server::replying([one_class(), recorded("restsearch-aggregate-Article")]).await;
    assert_eq!(node(&server).evidence_adapter().await.unwrap(), REST);
    let off = r#"{"error":[{"message":"rest search api is experimental and not enabled; set EXPERIMENTAL_REST_SEARCH_ENABLED=true to enable"}]}"#;
    for rest in [
        recorded("unknown-path"),
        recorded("method-not-allowed"),
        Reply::new(422, off),
        recorded("readonly-aggregate-post"),
    ] {
        let server = Server::replying([one_class(), rest, recorded("graphql-aggregate-article")]).await;
        assert_eq!(node(&server).evidence_adapter().await.unwrap(), GRAPHQL);
    }
}

#[tokio::test]
async fn a_node_with_neither_api_is_refused_and_names_both_answers() {
    let disabled = r#"{"error":[{"message":"graphql api is disabled"}]}"#;
    let server = Server::replying([one_class(), recorded("unknown-path"), Reply::new(422, disabled)]).await;
    let error = node(&server).evidence_adapter().await.unwrap_err().to_string();
    assert!(error.contains("was not found") && error.contains("graphql api is disabled"), "{error}");
}

#[tokio::test]
async fn an_answer_that_says_nothing_of_the_api_decides_nothing() {
    for rest in [Reply::new(500, ""), Reply::new(200, ""), Reply::Lost, Reply::new(403, "")] {
        let server = Server::replying([one_class(), rest]).await;
        assert!(node(&server).evidence_adapter().await.is_err());
        assert_eq!(server.asked().len(), 2);
    }
}

#[tokio::test]
async fn an_active_tenant_is_counted_where_every_class_has_tenants_and_the_version_decides_where_nothing_can_be() {
    let tenanted = || Reply::new(200, r#"{"classes":[{"class":"T","multiTenancyConfig":{"enabled":true}}]}"#);
    let server = Server::replying([tenanted(), recorded("tenants"), Reply::new(200, r#"{"count":3}"#)]).await;
    assert_eq!(node(&server).evidence_adapter().await.unwrap(), REST);
    assert_eq!(server.asked()[2].json(), json!({"tenant": "tactive"}));
    let cold = || Reply::new(200, r#"[{"name":"a","activityStatus":"COLD"}]"#);
    for (version, adapter) in
        [("1.38.11", GRAPHQL), ("1.39.6", GRAPHQL), ("1.39.7", REST), ("1.40.0", REST), ("odd", GRAPHQL)]
    {
        let meta = Reply::new(200, format!(r#"{{"version":"{version}"}}"#));
        let server = Server::replying([tenanted(), cold(), meta]).await;
        assert_eq!(node(&server).evidence_adapter().await.unwrap(), adapter, "{version}");
    }
}
