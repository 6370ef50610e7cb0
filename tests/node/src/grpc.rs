//! gRPC is not played, and says so: whoever calls the gRPC port gets UNIMPLEMENTED with these words, and the double's log
//! has a line for each call. A client that needs gRPC fails at once and knows why, in place of hanging or half working.

use std::net::{IpAddr, SocketAddr};

use axum::Router;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;

/// What every caller is told.
pub(crate) const MESSAGE: &str =
    "lifeboat-node is a test double of Weaviate without gRPC: use REST, or run a real server for this";

/// `UNIMPLEMENTED` of gRPC's status codes.
const UNIMPLEMENTED: u16 = 12;

/// The gRPC port as `GRPC_PORT` gives it.
///
/// # Errors
/// When it is not a port.
pub(crate) fn port(given: Option<&str>) -> Result<Option<u16>, String> {
    given
        .filter(|text| !text.is_empty())
        .map(|text| text.parse().map_err(|_| format!("parse GRPC_PORT as int: {text:?}")))
        .transpose()
}

/// Takes the gRPC port. One that was given and is taken ends the start, as in the real server. The usual one need not
/// be free, so that many doubles can stand on one address; then it is said aloud.
///
/// # Errors
/// When a port that was given cannot be taken.
pub(crate) async fn listen(host: IpAddr, given: Option<u16>) -> Result<Option<TcpListener>, String> {
    let port = given.unwrap_or(50_051);
    match TcpListener::bind((host, port)).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if given.is_some() => Err(format!("failed to start grpc server: listen tcp {host}:{port}: {error}")),
        Err(error) => {
            eprintln!("lifeboat-node: nobody refuses gRPC on {host}:{port}: {error}; GRPC_PORT gives another");
            Ok(None)
        }
    }
}

/// Refuses every call until the process ends.
pub(crate) async fn refuse(listener: TcpListener) {
    let router = Router::new().fallback(refusal);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    if let Err(error) = axum::serve(listener, service).await {
        eprintln!("lifeboat-node: the refusal of gRPC ended: {error}");
    }
}

async fn refusal(request: Request) -> Response {
    eprintln!("lifeboat-node: gRPC call {} refused: not played by this double", request.uri().path());
    let mut response = StatusCode::OK.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from(UNIMPLEMENTED));
    headers.insert("grpc-message", HeaderValue::from_static(MESSAGE));
    response
}
