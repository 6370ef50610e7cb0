//! Tenants: active, inactive, offloaded.

use anyhow::Result;
use lifeboat_domain::expectations::EvidenceAdapter;
use lifeboat_workflows::ports::Node;
use reqwest::Method;
use serde_json::{Value, json};

use super::evidence::{adapter, place, read};
use super::{Case, case};
use crate::world::{World, definition, object, uuid};

const G: &str = "tenants";

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(G, Keys, "tenants are told as HOT and COLD", list),
        case!(G, Keys, "tenants of a class without them are refused", |w| other_class(w, "Author")),
        case!(G, Keys, "tenants of a class that is not there are refused", |w| other_class(w, "NeverMade")),
        case!(G, Keys, "counts of tenants by GraphQL", |w| counts(w, EvidenceAdapter::Graphql)),
        case!(G, Keys, "counts of tenants by REST search", |w| counts(w, EvidenceAdapter::Rest)),
        case!(G, Keys, "an inactive tenant is not read", read_cold),
        case!(G, Keys, "an inactive tenant is not written", write_cold),
        case!(G, Keys, "a tenant cannot be offloaded without the module", |w| offload(w, "OFFLOADED")),
        case!(G, Keys, "a tenant cannot be frozen without the module", |w| offload(w, "FROZEN")),
        case!(G, Keys, "an unknown activity is refused", |w| offload(w, "SLEEPING")),
        case!(G, Keys, "a tenant that is not there cannot be changed", unknown_tenant),
        case!(G, Keys, "verbose nodes does not list an inactive tenant", nodes),
        case!(G, Keys, "an inactive tenant is backed up and comes back inactive with its objects", restored),
    ]
}

const CLASS: &str = "Tenanted";
const PATH: &str = "/v1/schema/Tenanted/tenants";

/// `hot` and `cold` with five objects each, `bare` with none; `cold` is inactive.
async fn tenanted(world: &World) -> Result<()> {
    world.empty().await?;
    world.spoil();
    let mut class = definition(CLASS);
    class["multiTenancyConfig"] = json!({"enabled": true});
    world.prepare(Method::POST, "/v1/schema", Some(&class)).await?;
    let tenants = json!([{"name": "hot"}, {"name": "cold"}, {"name": "bare"}]);
    world.prepare(Method::POST, PATH, Some(&tenants)).await?;
    for tenant in ["hot", "cold"] {
        world.add(CLASS, Some(tenant), 0..5).await?;
    }
    let sleep = json!([{"name": "cold", "activityStatus": "INACTIVE"}]);
    world.prepare(Method::PUT, PATH, Some(&sleep)).await?;
    Ok(())
}

/// The list, sorted by name.
async fn listed(world: &World) -> Result<Value> {
    let reply = world.ask(Method::GET, PATH, None).await?;
    let mut tenants = reply.json.as_array().cloned().unwrap_or_default();
    tenants.sort_by_key(|tenant| tenant["name"].to_string());
    Ok(json!({"status": reply.status, "tenants": tenants}))
}

async fn list(world: &World) -> Result<Value> {
    tenanted(world).await?;
    listed(world).await
}

async fn other_class(world: &World, class: &'static str) -> Result<Value> {
    world.library().await?;
    world.see(Method::GET, &format!("/v1/schema/{class}/tenants"), None).await
}

async fn counts(world: &World, by: EvidenceAdapter) -> Result<Value> {
    tenanted(world).await?;
    world.ask(Method::GET, "/v1/nodes", None).await?;
    let node = adapter(world)?;
    let mut seen = json!({});
    for tenant in [Some("hot"), Some("bare"), Some("cold"), Some("nobody"), None] {
        let count = node.count(by, &place(CLASS, tenant), None).await;
        seen[tenant.unwrap_or("no tenant named")] = read(count, |count| json!(count));
    }
    Ok(json!({"counts": world.mask(&seen), "still": listed(world).await?}))
}

async fn read_cold(world: &World) -> Result<Value> {
    tenanted(world).await?;
    let id = uuid(CLASS, 1);
    let mut seen = json!({});
    for tenant in ["hot", "cold", "nobody"] {
        let one = world.see(Method::GET, &format!("/v1/objects/{CLASS}/{id}?tenant={tenant}"), None).await?;
        let list = world.see(Method::GET, &format!("/v1/objects?class={CLASS}&tenant={tenant}&limit=1"), None).await?;
        let told = |seen: &Value| match seen["status"] == 200 {
            true => json!(200),
            false => seen.clone(),
        };
        seen[tenant] = json!({"object": told(&one), "list": told(&list)});
    }
    Ok(seen)
}

async fn write_cold(world: &World) -> Result<Value> {
    tenanted(world).await?;
    let one = world.see(Method::POST, "/v1/objects", Some(&object(CLASS, Some("cold"), 9))).await?;
    let batch = json!({"objects": [object(CLASS, Some("cold"), 9)]});
    let reply = world.ask(Method::POST, "/v1/batch/objects", Some(&batch)).await?;
    let batch = match reply.status {
        200 => json!({"status": 200, "result": reply.json[0]["result"]}),
        _ => world.seen(&reply),
    };
    Ok(world.mask(&json!({"one": one, "batch": batch})))
}

async fn offload(world: &World, activity: &'static str) -> Result<Value> {
    tenanted(world).await?;
    let change = json!([{"name": "hot", "activityStatus": activity}]);
    let answer = world.see(Method::PUT, PATH, Some(&change)).await?;
    Ok(json!({"answer": answer, "still": listed(world).await?}))
}

async fn unknown_tenant(world: &World) -> Result<Value> {
    tenanted(world).await?;
    let change = json!([{"name": "nobody", "activityStatus": "INACTIVE"}]);
    world.see(Method::PUT, PATH, Some(&change)).await
}

async fn nodes(world: &World) -> Result<Value> {
    tenanted(world).await?;
    let reply = world.ask(Method::GET, "/v1/nodes?output=verbose", None).await?;
    let shards = reply.json["nodes"][0]["shards"].as_array().cloned().unwrap_or_default();
    let mut names: Vec<&str> = shards.iter().filter_map(|shard| shard["name"].as_str()).collect();
    names.sort_unstable();
    Ok(json!({"shards": names, "shardCount": reply.json["nodes"][0]["stats"]["shardCount"]}))
}

async fn restored(world: &World) -> Result<Value> {
    tenanted(world).await?;
    let id = world.id("tenants");
    world.backup(&id).await?;
    world.empty().await?;
    let seen = world.restored(&id, &json!({})).await?;
    let after = listed(world).await?;
    let wake = json!([{"name": "cold", "activityStatus": "ACTIVE"}]);
    world.prepare(Method::PUT, PATH, Some(&wake)).await?;
    let mut objects = json!({});
    for tenant in ["hot", "cold", "bare"] {
        let path = format!("/v1/objects?class={CLASS}&tenant={tenant}&limit=100");
        let list = world.ask(Method::GET, &path, None).await?;
        objects[tenant] = json!(list.json["objects"].as_array().map(Vec::len));
    }
    Ok(json!({"restored": seen, "tenants": after, "objects": objects}))
}
