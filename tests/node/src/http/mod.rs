//! The REST API: routes, and what stands before them in the order of the real server: log, health, operational mode, authentication.

pub(crate) mod access_log;
pub(crate) mod backups;
pub(crate) mod batch;
pub(crate) mod body;
pub(crate) mod evolve;
pub(crate) mod objects;
pub(crate) mod schema;
pub(crate) mod search;
pub(crate) mod system;
pub(crate) mod tenants;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::auth::{Auth, User};
use crate::backup::Backups;
use crate::config::Config;
use crate::db::Db;
use crate::errors::Refusal;
use crate::mode::{self, ModeSwitch};
use access_log::AccessLog;

/// What every handler reaches.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) knobs: Arc<crate::knobs::Knobs>,
    pub(crate) address: SocketAddr,
    pub(crate) db: Arc<Db>,
    pub(crate) auth: Arc<Auth>,
    pub(crate) backups: Arc<Backups>,
    pub(crate) mode: ModeSwitch,
    pub(crate) log: Option<AccessLog>,
    pub(crate) rate: batch::Rate,
}

/// Shared state of the handlers.
pub(crate) type Shared = State<Arc<App>>;

/// The whole API.
pub(crate) fn router(app: Arc<App>) -> Router {
    let mut router = Router::new()
        .route("/v1", get(system::root))
        .route("/v1/meta", get(system::meta))
        .route("/v1/nodes", get(system::nodes))
        .route("/v1/schema", get(schema::list).post(schema::create))
        .route("/v1/schema/{class}", get(schema::read).put(evolve::update_class).delete(schema::delete))
        .route("/v1/schema/{class}/properties", post(evolve::add_property))
        .route("/v1/schema/{class}/tenants/{tenant}", get(evolve::tenant))
        .route("/v1/schema/{class}/shards", get(schema::shards))
        .route(
            "/v1/schema/{class}/tenants",
            get(tenants::list).post(tenants::create).put(tenants::update).delete(tenants::delete),
        )
        .route("/v1/aliases", get(schema::aliases).post(schema::create_alias))
        .route("/v1/aliases/{alias}", get(schema::read_alias).delete(schema::delete_alias))
        .route("/v1/objects", get(objects::list).post(objects::create))
        .route(
            "/v1/objects/{class}/{id}",
            get(objects::read).head(objects::head).put(objects::replace).patch(evolve::merge).delete(objects::delete),
        )
        .route(
            "/v1/objects/{class}/{id}/references/{property}",
            post(evolve::add_reference).put(evolve::set_references).delete(evolve::remove_reference),
        )
        .route("/v1/batch/objects", post(batch::objects))
        .route("/v1/graphql", post(search::graphql))
        .route("/v1/backups/{backend}", get(backups::list).post(backups::create))
        .route("/v1/backups/{backend}/{id}", get(backups::create_status).delete(backups::cancel_create));
    let restore = if app.knobs.version.cancels_restores() {
        get(backups::restore_status).post(backups::restore).delete(backups::cancel_restore)
    } else {
        get(backups::restore_status).post(backups::restore)
    };
    router = router.route("/v1/backups/{backend}/{id}/restore", restore);
    if app.knobs.version.has_rest_search() {
        router = router
            .route("/v1/aggregate/{class}", post(search::aggregate))
            .route("/v1/search/{class}/bm25", post(search::bm25))
            .route("/v1/search/{class}/near-object", post(search::near_object));
    }
    let routes = router
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(DefaultBodyLimit::disable())
        .with_state(Arc::clone(&app));
    // The gate stands outside, because it rewrites paths before they are matched.
    Router::new().fallback_service(routes).layer(from_fn_with_state(app, gate))
}

/// Takes dots and double slashes out of a path, as the real server does after it has looked at the operational mode.
fn clean(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

async fn unknown_path(State(app): Shared, request: Request) -> Refusal {
    let text = format!("path {} was not found", request.uri().path());
    // Behind its flag the search route of 1.39.0 answers for itself, in the handlers' shape.
    let version = &app.knobs.version;
    if app.config.rest_search && version.has_near_text() && request.uri().path().starts_with("/v1/search/") {
        return Refusal::not_found(text);
    }
    Refusal::framework(404, text)
}

/// Its text is completed in [`gate`], where the methods that are allowed are known.
async fn unknown_method() -> StatusCode {
    StatusCode::METHOD_NOT_ALLOWED
}

fn not_allowed(method: &Method, response: &Response) -> Response {
    let allowed = response.headers().get("allow").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut allowed: Vec<&str> = allowed.split(',').filter(|name| !name.is_empty() && *name != "HEAD").collect();
    allowed.sort_unstable();
    Refusal::framework(405, format!("method {method} is not allowed, but [{}] are", allowed.join(","))).into_response()
}

async fn gate(State(app): Shared, mut request: Request, next: Next) -> Response {
    let entry = app.log.as_ref().map(|_| access_log::Entry::new(&request, remote(&request), app.address));
    let (user, response) = match admit(&app, &mut request) {
        Ok(user) => {
            request.extensions_mut().insert(user.clone());
            let method = request.method().clone();
            let response = next.run(request).await;
            let refused = response.status() == StatusCode::METHOD_NOT_ALLOWED;
            (Some(user), if refused { not_allowed(&method, &response) } else { response })
        }
        Err(response) => (None, *response),
    };
    if let (Some(log), Some(entry)) = (&app.log, entry) {
        log.write(entry, user.and_then(|user| user.0), response.status());
    }
    response
}

fn remote(request: &Request) -> Option<SocketAddr> {
    request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0)
}

/// Health, operational mode and authentication, in this order.
fn admit(app: &App, request: &mut Request) -> Result<User, Box<Response>> {
    let refuse = |refusal: Refusal| Box::new(refusal.into_response());
    // The real server compares the whole URL, so a query string makes another path of it.
    match request.uri().to_string().as_str() {
        "/v1/.well-known/live" => return Err(Box::new(StatusCode::OK.into_response())),
        "/v1/.well-known/ready" => {
            let status = if app.knobs.not_ready { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
            return Err(Box::new(status.into_response()));
        }
        _ => {}
    }
    let reason = mode::refusal(
        &app.mode.get(),
        request.method(),
        request.uri().path(),
        &app.knobs.version,
        app.config.rest_search,
    );
    if let Some(reason) = reason {
        return Err(refuse(Refusal::handler(StatusCode::SERVICE_UNAVAILABLE, reason)));
    }
    let path = clean(request.uri().path());
    if path != request.uri().path() {
        let target = match request.uri().query() {
            Some(query) => format!("{path}?{query}"),
            None => path.clone(),
        };
        if let Ok(uri) = target.parse() {
            *request.uri_mut() = uri;
        }
    }
    let user = app.auth.user(request.headers(), request.uri()).map_err(refuse)?;
    // Backups check for themselves, class by class.
    if !path.starts_with("/v1/backups") {
        let (verb, resource) = verb_and_resource(request.method(), &path);
        app.auth.allow(&user, verb, &[resource]).map_err(refuse)?;
    }
    Ok(user)
}

fn verb_and_resource(method: &Method, path: &str) -> (char, String) {
    let reads = ["/v1/graphql", "/v1/search", "/v1/aggregate"].iter().any(|prefix| path.starts_with(prefix));
    let verb = match *method {
        _ if reads => 'R',
        Method::POST => 'C',
        Method::PUT | Method::PATCH => 'U',
        Method::DELETE => 'D',
        _ => 'R',
    };
    let resource = match path.strip_prefix("/v1/schema/") {
        Some(class) => format!("schema/collections/{class}/shards/#"),
        None => path.trim_start_matches("/v1/").to_owned(),
    };
    (verb, resource)
}
