use proptest::prelude::*;
use serde_json::json;

use super::*;

fn near(ids: &[&str]) -> CanaryQuery {
    CanaryQuery::NearObject { ids: ids.iter().map(|id| (*id).to_owned()).collect(), vector: None }
}

#[test]
fn the_cursors_follow_from_the_names_alone_and_differ_between_places() {
    assert_eq!(starts("Article", None).len(), 16);
    assert_eq!(starts("Article", Some("t")).len(), 4);
    assert_eq!(starts("Article", None), starts("Article", None));
    let mut all = [starts("Article", None), starts("Article", Some("t")), starts("Articlet", None)].concat();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 16 + 4 + 16);
    assert_eq!(starts("Article", None)[0], "594ac39c-2221-8a20-82dc-92c0fa93fa09");
}

#[test]
fn an_inactive_tenant_is_never_counted_and_a_sample_above_the_bound_is_always_the_same() {
    let mut tenants: BTreeMap<String, TenantStatus> =
        (0..2_500).map(|i| (format!("t{i:04}"), TenantStatus::Active)).collect();
    tenants.insert("asleep".into(), TenantStatus::Inactive);
    tenants.insert("away".into(), TenantStatus::Offloaded);
    tenants.insert("moving".into(), TenantStatus::Other("FREEZING".into()));
    let sample = counted_tenants("C", &tenants);
    assert_eq!(sample.len(), TENANTS_COUNTED_MAX);
    assert!(sample.iter().all(|t| t.starts_with('t')));
    assert_eq!(sample, counted_tenants("C", &tenants));
    assert_ne!(sample, counted_tenants("D", &tenants));
    let counts: BTreeMap<String, u64> = (0..20).map(|i| (format!("t{i}"), i % 2)).collect();
    let chosen = canary_tenants("C", &counts);
    assert_eq!(chosen.len(), TENANTS_MAX);
    assert!(chosen.iter().all(|t| counts[*t] == 1), "an empty tenant has no object to look at");
}

#[test]
fn digests_ignore_the_order_of_keys_and_what_a_query_computes_but_no_value() {
    let a: Value = serde_json::from_str(r#"{"b":{"y":1,"x":[1,2]},"a":"é","_additional":{"id":"1"}}"#).unwrap();
    let b: Value = serde_json::from_str(r#"{"a":"é","b":{"x":[1,2],"y":1}}"#).unwrap();
    assert_eq!(properties_digest(&a), properties_digest(&b));
    for other in [json!({"a":"é","b":{"x":[2,1],"y":1}}), json!({"a":"e","b":{"x":[1,2],"y":1}}), json!({})] {
        assert_ne!(properties_digest(&other), properties_digest(&b), "{other}");
    }
    let written =
        json!({"class":"C","invertedIndexConfig":{"stopwords":{"additions":null,"preset":"en"}},"moduleConfig":{}});
    let read = json!({"class":"C","invertedIndexConfig":{"stopwords":{"additions":[],"preset":"en"}}});
    assert_eq!(definition_digest(&written), definition_digest(&read));
    assert_ne!(definition_digest(&written), definition_digest(&json!({"class":"C"})));
}

#[test]
fn a_vector_is_digested_as_little_endian_f32_and_each_name_apart() {
    let digests = vector_digests(&BTreeMap::from([("default".to_owned(), vec![1.0_f32, -2.5]), ("v".into(), vec![])]));
    assert_eq!(digests["default"], Sha256Digest::of(&[0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc0]));
    assert_eq!(digests["v"], Sha256Digest::of(b""));
}

#[test]
fn questions_are_asked_only_where_the_definition_indexes_the_property() {
    let definition = json!({"class":"C","properties":[
        {"name":"body","dataType":["text"]}, {"name":"draft","dataType":["boolean"]},
        {"name":"hidden","dataType":["int"],"indexFilterable":false}, {"name":"price","dataType":["number"]},
        {"name":"year","dataType":["int"]}]});
    let vectors = BTreeMap::from([("default".to_owned(), vec![1.0_f32])]);
    let object = json!({"body":"The quick, brown-fox of it jumps over","draft":true,"hidden":1,"price":2,"year":1999});
    assert_eq!(
        questions(&definition, &object, &vectors),
        [
            Question::FilteredCount { property: "year".into(), value: json!(1999) },
            Question::Bm25 { property: "body".into(), query: "The quick brown fox".into() },
            Question::NearObject { vector: None }
        ]
    );
    let object = json!({"draft":true,"hidden":1,"price":2,"body":""});
    assert_eq!(
        questions(&definition, &object, &BTreeMap::new()),
        [Question::FilteredCount { property: "draft".into(), value: json!(true) }]
    );
    assert_eq!(questions(&json!({}), &object, &BTreeMap::new()), []);
}

#[test]
fn neighbours_are_asked_for_by_a_name_only_where_the_definition_has_named_vectors() {
    let of = |names: &[&str]| names.iter().map(|n| ((*n).to_owned(), vec![1.0_f32])).collect::<BTreeMap<_, _>>();
    let named = json!({"vectorConfig": {"title": {}, "body": {}, "default": {}}});
    let asked = |definition: &Value, names: &[&str]| questions(definition, &json!({}), &of(names));
    let by = |vector: Option<&str>| vec![Question::NearObject { vector: vector.map(str::to_owned) }];
    assert_eq!(asked(&named, &["title", "body"]), by(Some("body")));
    assert_eq!(asked(&named, &["title"]), by(Some("title")), "an object need not have all");
    assert_eq!(asked(&named, &["default"]), by(Some("default")), "a name like any other");
    assert_eq!(asked(&named, &["other"]), []);
    assert_eq!(asked(&json!({"vectorConfig": {}}), &["default"]), by(None));
    assert_eq!(asked(&json!({}), &["title"]), []);
    let near =
        |vector: Option<&str>| CanaryQuery::NearObject { ids: vec!["me".into()], vector: vector.map(str::to_owned) };
    assert!(agrees("me", &near(Some("body")), &near(Some("body"))));
    assert!(!agrees("me", &near(Some("body")), &near(None)), "another question");
    let old: CanaryQuery = serde_json::from_value(json!({"kind": "near_object", "ids": ["me"]})).unwrap();
    assert_eq!(old, near(None), "a record of before names were kept");
}

#[test]
fn bm25_hits_that_tie_with_the_last_one_are_left_out() {
    let hits = |scores: &[f64]| settled_hits(scores.iter().enumerate().map(|(i, s)| (format!("{i}"), *s)).collect());
    assert_eq!(hits(&[3.0, 2.0, 1.0]), ["0", "1", "2"], "fewer than asked for: all");
    assert_eq!(hits(&[9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 1.0, 1.000_01, 1.0]).len(), 7);
    assert_eq!(hits(&[1.0; 10]), Vec::<String>::new(), "all tie: nothing is settled");
}

#[test]
fn only_an_answer_that_came_twice_and_says_something_is_kept() {
    let full = near(&["me", "a", "b", "c", "d", "e", "f", "g", "h", "i"]);
    assert!(agreed("me", full.clone(), &full).is_some());
    assert!(agreed("a", full.clone(), &full).is_none(), "its own id is not first");
    assert!(agreed("me", near(&[]), &near(&[])).is_none());
    let count = |count| CanaryQuery::FilteredCount { property: "p".into(), value: json!(1), count };
    assert!(agreed("me", count(2), &count(2)).is_some());
    assert!(agreed("me", count(2), &count(3)).is_none());
    assert!(agreed("me", count(0), &count(0)).is_none(), "the object itself has the value");
    assert!(!agrees("me", &count(2), &full));
}

#[test]
fn eight_of_ten_neighbours_are_enough_and_seven_are_not() {
    let full = near(&["me", "a", "b", "c", "d", "e", "f", "g", "h", "i"]);
    assert!(agrees("me", &full, &near(&["me", "a", "b", "c", "d", "e", "f", "g", "x", "y"])));
    assert!(!agrees("me", &full, &near(&["me", "a", "b", "c", "d", "e", "f", "x", "y", "z"])));
    assert!(!agrees("me", &full, &near(&["a", "me", "b", "c", "d", "e", "f", "g", "h", "i"])));
    assert!(agrees("me", &near(&["me", "a"]), &near(&["me", "a"])));
    assert!(!agrees("me", &near(&["me", "a"]), &near(&["me", "b"])));
}

proptest! {
    #[test]
    fn the_digest_does_not_depend_on_the_order_in_which_keys_came(keys in prop::collection::btree_map("[a-c]{1,3}", any::<i64>(), 0..6)) {
        let forward: Map<String, Value> = keys.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
        let backward: Map<String, Value> = keys.iter().rev().map(|(k, v)| (k.clone(), json!(v))).collect();
        prop_assert_eq!(properties_digest(&Value::Object(forward)), properties_digest(&Value::Object(backward)));
    }

    #[test]
    fn an_answer_always_agrees_with_itself_once_it_was_kept(ids in prop::collection::vec("[a-z]{3}", 0..10)) {
        let answer = CanaryQuery::NearObject { ids: ids.clone(), vector: None };
        if let Some(kept) = agreed("abc", answer.clone(), &answer) {
            prop_assert!(agrees("abc", &kept, &answer));
        }
    }
}
