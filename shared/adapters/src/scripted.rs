//! A server for tests that gives a queue of replies, one a connection, and remembers what it was asked.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// One scripted reply.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// A status, headers and a body.
    With(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// The connection is closed after the request was read: the reply is lost.
    Lost,
    /// Nothing ever comes.
    Silence,
    /// A header that promises more bytes than follow.
    Cut(u16, u64, Vec<u8>),
}

impl Reply {
    /// A reply without headers.
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::With(status, Vec::new(), body.into())
    }

    /// An S3 error in XML.
    pub(crate) fn s3_error(status: u16, code: &str) -> Self {
        Self::new(status, format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>m</Message></Error>"))
    }

    /// An S3 object.
    pub(crate) fn s3_object(etag: &str, version: &str, body: &[u8]) -> Self {
        let headers = vec![
            ("ETag", etag.to_owned()),
            ("Last-Modified", "Fri, 20 Nov 2026 11:00:31 GMT".to_owned()),
            ("x-amz-version-id", version.to_owned()),
        ];
        Self::With(200, headers, body.to_vec())
    }

    /// An AWS JSON error.
    pub(crate) fn json_error(status: u16, code: &str) -> Self {
        Self::new(status, format!("{{\"__type\":\"{code}\",\"message\":\"m\"}}"))
    }
}

/// A request as it came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    /// Method, a blank, path with query.
    pub(crate) line: String,
    /// Headers, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: String,
}

impl Asked {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// The server; it stops when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// A server on a free port of the loopback interface.
    pub(crate) async fn replying(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let mut replies: VecDeque<Reply> = replies.into_iter().collect();
        let seen = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            let mut open = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let request = read(&mut stream).await;
                seen.lock().unwrap().push(request);
                let reply = replies.pop_front().unwrap_or_else(|| Reply::new(599, "the script is over"));
                if let Some(stream) = answer(stream, reply).await {
                    open.push(stream);
                }
            }
        });
        Self { address, asked, task }
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(stream: &mut TcpStream) -> Asked {
    let mut raw = Vec::new();
    let head = loop {
        let mut part = [0; 4096];
        let n = stream.read(&mut part).await.unwrap();
        raw.extend_from_slice(&part[..n]);
        if let Some(at) = raw.windows(4).position(|w| w == b"\r\n\r\n") {
            break at;
        }
        if n == 0 {
            return Asked::default();
        }
    };
    let text = String::from_utf8(raw[..head].to_vec()).unwrap();
    let mut lines = text.lines();
    let line = lines.next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
    let headers: Vec<(String, String)> =
        lines.filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_lowercase(), v.to_owned())).collect();
    let length = headers.iter().find(|(n, _)| n == "content-length").map_or(0, |(_, v)| v.parse().unwrap());
    let mut body = raw[head + 4..].to_vec();
    while body.len() < length {
        let mut part = [0; 4096];
        let n = stream.read(&mut part).await.unwrap();
        body.extend_from_slice(&part[..n]);
    }
    Asked { line, headers, body: String::from_utf8_lossy(&body).into_owned() }
}

async fn answer(mut stream: TcpStream, reply: Reply) -> Option<TcpStream> {
    let (status, headers, length, body) = match reply {
        Reply::Lost => return None,
        Reply::Silence => return Some(stream),
        Reply::Cut(status, length, body) => (status, Vec::new(), length, body),
        Reply::With(status, headers, body) => (status, headers, body.len() as u64, body),
    };
    let mut head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\n");
    if !headers.iter().any(|(n, _)| n.eq_ignore_ascii_case("content-length")) && status != 204 {
        head.push_str(&format!("Content-Length: {length}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(&body).await;
    let _ = stream.shutdown().await;
    None
}
