//! ReadOnly, switched while the server runs: what it refuses, and what leaks.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Case, case};
use crate::mask::shape;
use crate::world::{World, object};

const G: &str = "ReadOnly";

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(G, Modes, "ReadOnly refuses an object", |w| write(
            w,
            Method::POST,
            "/v1/objects",
            object("Author", None, 9)
        )),
        case!(G, Modes, "ReadOnly refuses a batch", |w| write(
            w,
            Method::POST,
            "/v1/batch/objects",
            json!({"objects": [object("Author", None, 9)]})
        )),
        case!(G, Modes, "ReadOnly refuses a removal of many", |w| write(
            w,
            Method::DELETE,
            "/v1/batch/objects",
            json!({"match": {"class": "Author", "where": {"path": ["n"], "operator": "Equal", "valueInt": 1}}})
        )),
        case!(G, Modes, "ReadOnly refuses a class", |w| write(w, Method::POST, "/v1/schema", json!({"class": "Late"}))),
        case!(G, Modes, "ReadOnly refuses the removal of a class", |w| write(
            w,
            Method::DELETE,
            "/v1/schema/Author",
            Value::Null
        )),
        case!(G, Modes, "ReadOnly refuses an alias", |w| write(
            w,
            Method::POST,
            "/v1/aliases",
            json!({"alias": "Late", "class": "Author"})
        )),
        case!(G, Modes, "ReadOnly reads", reads),
        case!(G, Modes, "ReadOnly and the REST search", rest_search),
        case!(G, Modes, "ReadOnly backs up and restores", backs_up),
        case!(G, Modes, "ReadOnly leaks by a second slash", |w| leak(w, "//v1/objects", 20)),
        case!(G, Modes, "ReadOnly leaks by a dot", |w| leak(w, "/./v1/objects", 21)),
        case!(G, Modes, "ReadOnly leaks by dots after an open path", |w| leak(w, "/v1/backups/../objects", 22)),
        case!(G, Modes, "ReadOnly does not leak by a slash inside", |w| leak(w, "/v1//objects", 23)),
        case!(G, Modes, "a mode of another spelling lets everything through", bogus),
    ]
}

async fn write(world: &World, method: Method, path: &'static str, body: Value) -> Result<Value> {
    world.library().await?;
    let body = if body.is_null() { None } else { Some(body) };
    let seen = world.see(method, path, body.as_ref()).await?;
    Ok(json!({"answer": seen, "classes": world.counts().await?}))
}

async fn reads(world: &World) -> Result<Value> {
    world.library().await?;
    let nodes = world.ask(Method::GET, "/v1/nodes", None).await?;
    let list = world.ask(Method::GET, "/v1/objects?class=Author&limit=10", None).await?;
    let query = json!({"query": "{Aggregate{Author{meta{count}}}}"});
    let graphql = world.see(Method::POST, "/v1/graphql", Some(&query)).await?;
    Ok(json!({"mode": nodes.json["nodes"][0]["operationalMode"], "list": list.status, "graphql": graphql}))
}

async fn rest_search(world: &World) -> Result<Value> {
    world.library().await?;
    let count = world.ask(Method::POST, "/v1/aggregate/Author", Some(&json!({}))).await?;
    let body = json!({"query": "lifeboat", "properties": ["title"], "limit": 2});
    let bm25 = world.ask(Method::POST, "/v1/search/Author/bm25", Some(&body)).await?;
    let told = |reply: &crate::world::Reply| match reply.status {
        200 => json!({"status": 200, "shape": shape(&reply.json)}),
        _ => world.seen(reply),
    };
    Ok(json!({"aggregate": told(&count), "bm25": told(&bm25)}))
}

async fn backs_up(world: &World) -> Result<Value> {
    world.library().await?;
    let id = world.id("in-read-only");
    let made = world.mask(&world.backup(&id).await?);
    world.empty().await?;
    Ok(json!({"backup": made, "restore": world.restored(&id, &json!({})).await?}))
}

/// A write whose path is spelled otherwise, as it is sent over the wire.
async fn leak(world: &World, path: &'static str, n: usize) -> Result<Value> {
    world.library().await?;
    world.spoil();
    // The mode is switched by an ordinary observation; the write itself needs a client that does not mend paths.
    world.ask(Method::GET, "/v1/nodes", None).await?;
    let status = world.ask_as_is("POST", path, &object("Author", None, n)).await?;
    Ok(json!({"status": status, "classes": world.counts().await?}))
}

async fn bogus(world: &World) -> Result<Value> {
    world.library().await?;
    world.spoil();
    world.mode("READONLY").await?;
    let nodes = world.ask_in_this_mode(Method::GET, "/v1/nodes", None).await?;
    let written = world.ask_in_this_mode(Method::POST, "/v1/objects", Some(&object("Author", None, 9))).await?;
    Ok(json!({"mode": nodes.json["nodes"][0]["operationalMode"], "write": written.status}))
}
