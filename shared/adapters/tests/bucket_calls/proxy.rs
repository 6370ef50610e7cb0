//! A TCP proxy in front of a store, which lets one kind of trouble befall the next put and passes everything else on.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use aws_sdk_s3::Client;
use lifeboat_workflows::twins::contract::bucket::Trouble;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The proxy; it stops when it is dropped.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

/// Somebody who writes when the trouble says so.
#[derive(Clone)]
pub(crate) struct Other {
    pub(crate) client: Client,
    pub(crate) bucket: String,
}

impl Other {
    async fn writes(&self, key: &str, body: &[u8]) {
        let put = self.client.put_object().bucket(&self.bucket).key(key).body(body.to_vec().into());
        put.send().await.expect("the other's write is taken");
    }
}

/// Whether a request is one that trouble is for, by its head.
pub(crate) type Meets = fn(&str) -> bool;

/// What to do with one request.
enum Fate {
    Passes,
    Damaged,
    LosesItsReply,
    IsWrittenOver { key: String, by: Vec<u8> },
    NeverArrives { key: String, by: Vec<u8> },
}

impl Proxy {
    /// A proxy in front of `upstream` (host and port); trouble befalls the request whose head it meets.
    pub(crate) async fn start(upstream: &str, trouble: Trouble, meets: Meets, other: Option<Other>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it has an address");
        let (upstream, trouble) = (upstream.to_owned(), Arc::new(Mutex::new(Some(trouble))));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (upstream, trouble, other) = (upstream.clone(), Arc::clone(&trouble), other.clone());
                tokio::spawn(async move {
                    // A connection that breaks is what its client notices.
                    let _ = carry(client, &upstream, &trouble, meets, other.as_ref()).await;
                });
            }
        });
        Self { address, task }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn fate(is_met: bool, trouble: &Mutex<Option<Trouble>>) -> Fate {
    let mut pending = trouble.lock().expect("nobody panics while holding it");
    if !is_met {
        return Fate::Passes;
    }
    match pending.take() {
        None | Some(Trouble::ReplyLost { times: 0 }) => Fate::Passes,
        Some(Trouble::ReplyLost { times }) => {
            *pending = Some(Trouble::ReplyLost { times: times - 1 });
            Fate::LosesItsReply
        }
        Some(Trouble::Overtaken { key, by }) => Fate::NeverArrives { key, by },
        Some(Trouble::WrittenOver { key, by }) => Fate::IsWrittenOver { key, by },
        Some(Trouble::Damaged) => Fate::Damaged,
    }
}

/// One request and its reply; then the connection ends.
async fn carry(
    mut client: TcpStream,
    upstream: &str,
    trouble: &Mutex<Option<Trouble>>,
    meets: Meets,
    other: Option<&Other>,
) -> std::io::Result<()> {
    let another = || other.expect("somebody else is there to write");
    let (head, mut body) = request(&mut client).await?;
    match fate(meets(&head), trouble) {
        Fate::Passes => {
            let reply = asked(upstream, &head, &body).await?;
            client.write_all(&reply).await?;
            client.shutdown().await
        }
        Fate::Damaged => {
            if let Some(last) = body.last_mut() {
                *last ^= 1;
            }
            let reply = asked(upstream, &head, &body).await?;
            client.write_all(&reply).await?;
            client.shutdown().await
        }
        Fate::LosesItsReply => asked(upstream, &head, &body).await.map(drop),
        Fate::IsWrittenOver { key, by } => {
            asked(upstream, &head, &body).await?;
            another().writes(&key, &by).await;
            Ok(())
        }
        Fate::NeverArrives { key, by } => {
            another().writes(&key, &by).await;
            Ok(())
        }
    }
}

/// Reads a request with its body; requests of known length are all that the adapter makes.
async fn request(client: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut raw = Vec::new();
    let end = loop {
        if let Some(at) = raw.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        let mut part = [0; 8192];
        match client.read(&mut part).await? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            n => raw.extend_from_slice(&part[..n]),
        }
    };
    let body = raw.split_off(end);
    let head = String::from_utf8_lossy(&raw).into_owned();
    let of = |name: &str| {
        let line = head.lines().find(|l| l.to_ascii_lowercase().starts_with(name))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    let length: usize = of("content-length:").and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut whole = body;
    whole.reserve(length);
    while whole.len() < length {
        let mut part = [0; 8192];
        match client.read(&mut part).await? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            n => whole.extend_from_slice(&part[..n]),
        }
    }
    Ok((head, whole))
}

/// Asks the store, on a connection of its own, and reads the whole reply.
async fn asked(upstream: &str, head: &str, body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut store = TcpStream::connect(upstream).await?;
    let (line, headers) = head.split_once("\r\n").ok_or(std::io::ErrorKind::InvalidData)?;
    store.write_all(format!("{line}\r\nConnection: close\r\n{headers}").as_bytes()).await?;
    store.write_all(body).await?;
    let mut reply = Vec::new();
    store.read_to_end(&mut reply).await?;
    Ok(reply)
}
