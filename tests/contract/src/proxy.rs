//! What stands between a server and its bucket: requests can be refused, or held until the case goes on. So a case acts
//! while a backup is under way by knowing that it is, and never by being quick.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::sync::watch;

/// Longer than any state that a case waits for may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Forwards to an S3 endpoint, with rules in between.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// Where the server finds its "S3".
    pub(crate) address: SocketAddr,
    inner: Arc<Inner>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct Inner {
    upstream: String,
    client: reqwest::Client,
    rules: Mutex<Vec<Arc<Rule>>>,
    log: Mutex<Vec<Line>>,
}

/// A request that went by.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// HTTP method.
    pub(crate) method: String,
    /// Path without the query.
    pub(crate) path: String,
    /// The query.
    pub(crate) query: String,
}

#[derive(Debug)]
struct Rule {
    method: &'static str,
    part: String,
    /// Only the n-th that matches, from 1; every one if absent.
    only: Option<u32>,
    seen: AtomicU32,
    act: Act,
}

#[derive(Debug)]
enum Act {
    Refuse(u16),
    Hold { reached: watch::Sender<bool>, released: watch::Receiver<bool> },
}

/// Requests held back. They go on when it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    reached: watch::Receiver<bool>,
    released: watch::Sender<bool>,
}

impl Held {
    /// Waits until a request has come that is held.
    pub(crate) async fn reached(&mut self) -> Result<()> {
        tokio::time::timeout(PATIENCE, self.reached.wait_for(|reached| *reached))
            .await
            .context("the request that was to be held did not come")?
            .context("the proxy has ended")?;
        Ok(())
    }

    /// Lets what is held go on.
    pub(crate) fn release(self) {
        let _ = self.released.send(true);
    }
}

impl Proxy {
    /// Starts on a free loopback port. `upstream` is `http://host:port`.
    pub(crate) async fn start(upstream: &str) -> Result<Self> {
        let inner = Arc::new(Inner {
            upstream: upstream.trim_end_matches('/').to_owned(),
            client: reqwest::Client::builder().no_proxy().build()?,
            rules: Mutex::default(),
            log: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let router = axum::Router::new().fallback(forward).with_state(Arc::clone(&inner));
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, inner, task })
    }

    /// Refuses requests whose path and query contain `part`: all of them, or only the n-th. 403 is not tried again by
    /// any client, 500 is.
    pub(crate) fn refuse(&self, method: &'static str, part: &str, only: Option<u32>, status: u16) {
        self.add(method, part, only, Act::Refuse(status));
    }

    /// Holds requests whose path and query contain `part`.
    pub(crate) fn hold(&self, method: &'static str, part: &str, only: Option<u32>) -> Held {
        let (reached, see_reached) = watch::channel(false);
        let (released, see_released) = watch::channel(false);
        self.add(method, part, only, Act::Hold { reached, released: see_released });
        Held { reached: see_reached, released }
    }

    /// Forgets every rule.
    pub(crate) fn forget(&self) {
        self.rules().clear();
    }

    /// What went by whose path contains `part`, in the order in which it came.
    pub(crate) fn log(&self, part: &str) -> Vec<Line> {
        let log = self.inner.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().filter(|line| line.path.contains(part)).cloned().collect()
    }

    fn add(&self, method: &'static str, part: &str, only: Option<u32>, act: Act) {
        self.rules().push(Arc::new(Rule { method, part: part.to_owned(), only, seen: AtomicU32::new(0), act }));
    }

    fn rules(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Rule>>> {
        self.inner.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Inner {
    /// The first rule that strikes this request.
    fn rule(&self, method: &Method, target: &str) -> Option<Arc<Rule>> {
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        rules
            .iter()
            .filter(|rule| rule.method == method.as_str() && target.contains(&rule.part))
            .find(|rule| {
                let nth = rule.seen.fetch_add(1, Ordering::Relaxed) + 1;
                rule.only.is_none_or(|only| only == nth)
            })
            .cloned()
    }
}

async fn forward(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let target = request.uri().path_and_query().map_or_else(String::new, ToString::to_string);
    let line = Line {
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
    };
    inner.log.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    match inner.rule(request.method(), &target).as_deref() {
        Some(Rule { act: Act::Refuse(status), .. }) => return refusal(*status),
        Some(Rule { act: Act::Hold { reached, released }, .. }) => {
            reached.send_replace(true);
            // An error means that the holder is gone, and then the request goes on too.
            let _ = released.clone().wait_for(|released| *released).await;
        }
        None => {}
    }
    pass(&inner, &target, request).await.unwrap_or_else(|error| {
        (StatusCode::BAD_GATEWAY, format!("the proxy could not pass this on: {error:#}")).into_response()
    })
}

async fn pass(inner: &Inner, target: &str, request: Request) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await?;
    let mut headers = parts.headers;
    for hop in ["transfer-encoding", "connection", "expect", "content-length"] {
        headers.remove(hop);
    }
    let mut ask = inner.client.request(parts.method.clone(), format!("{}{target}", inner.upstream)).headers(headers);
    if matches!(parts.method, Method::PUT | Method::POST) {
        ask = ask.header("content-length", body.len()).body(body);
    }
    let reply = ask.send().await?;
    let mut response = Response::builder().status(reply.status().as_u16());
    let head = parts.method == Method::HEAD;
    for (name, value) in reply.headers() {
        if !["transfer-encoding", "connection"].contains(&name.as_str()) && (head || name != "content-length") {
            response = response.header(name, value);
        }
    }
    Ok(response.body(Body::from(reply.bytes().await?))?)
}

fn refusal(status: u16) -> Response {
    let (code, message) = match status {
        403 => ("AccessDenied", "Access Denied."),
        503 => ("SlowDown", "Please reduce your request rate."),
        _ => ("InternalError", "We encountered an internal error. Please try again."),
    };
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message><RequestId>0</RequestId></Error>"
    );
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [("content-type", "application/xml")], xml).into_response()
}

/// Looks until `probe` answers something.
pub(crate) async fn until<T>(what: &str, mut probe: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let begun = std::time::Instant::now();
    loop {
        if let Some(found) = probe().await? {
            return Ok(found);
        }
        if begun.elapsed() > PATIENCE {
            bail!("{what} did not happen within {PATIENCE:?}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
