//! A quick S3 on the loopback interface, for measuring clients: it stores nothing, its bytes come out of one block in
//! memory, one thread a connection. It speaks as much as the AWS SDK, rclone, the AWS command line and curl need: path
//! style, ListObjectsV2 (and V1), HEAD, GET with ranges and `If-Match`, CRC64NVME of type FULL_OBJECT. Signatures are
//! not looked at. It can wait before the first byte and send no faster than a given rate on each connection.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The block's length: no power of two, so that ranges put together in the wrong order have another digest.
const BLOCK_BYTES: usize = (1 << 20) + 7;
/// What is given to the kernel at once.
const WRITE_BYTES: usize = 256 << 10;
/// What is given to the kernel at once on a connection with a rate.
const PACED_BYTES: usize = 32 << 10;
/// Keys of one page.
const PAGE_MAX: usize = 1_000;

/// A prefix with equal objects `<prefix>/00000`, ….
#[derive(Debug, Clone)]
pub(crate) struct Set {
    /// Without a slash.
    pub(crate) prefix: String,
    /// How many.
    pub(crate) objects: usize,
    /// Of how many bytes each.
    pub(crate) size_bytes: u64,
}

impl Set {
    /// `prefix:objects:bytes`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (prefix, objects, size) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self { prefix: prefix.to_owned(), objects: objects.parse().ok()?, size_bytes: size.parse().ok()? })
    }

    /// As [`Self::parse`] reads it.
    pub(crate) fn text(&self) -> String {
        format!("{}:{}:{}", self.prefix, self.objects, self.size_bytes)
    }

    /// Bytes of all objects.
    pub(crate) fn total_bytes(&self) -> u64 {
        self.objects as u64 * self.size_bytes
    }

    /// The key of one of its objects.
    pub(crate) fn key(&self, n: usize) -> String {
        format!("{}/{n:05}", self.prefix)
    }
}

/// The bytes of every object: the block over and over, beginning at another place for each object.
#[derive(Debug)]
pub(crate) struct Block(Vec<u8>);

impl Block {
    /// The same each time.
    pub(crate) fn new() -> Self {
        let mut state = 0x243f_6a88_85a3_08d3_u64;
        let mut bytes = Vec::with_capacity(BLOCK_BYTES + 8);
        while bytes.len() < BLOCK_BYTES {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes.truncate(BLOCK_BYTES);
        Self(bytes)
    }

    /// The longest stretch of object `n` from `offset`, of at most `length` bytes, that lies in one piece.
    pub(crate) fn stretch(&self, n: usize, offset: u64, length: u64) -> &[u8] {
        let at = (offset + n as u64 * 4_099) % BLOCK_BYTES as u64;
        let at = usize::try_from(at).expect("less than the block");
        let room = (BLOCK_BYTES - at) as u64;
        &self.0[at..at + usize::try_from(length.min(room)).expect("at most the block")]
    }
}

/// How answers are slowed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Shape {
    /// Before the first byte.
    pub(crate) latency: Duration,
    /// On each connection; 0 is as fast as it goes.
    pub(crate) bytes_per_second: u64,
}

struct Store {
    sets: Vec<Set>,
    crcs: Vec<Vec<u64>>,
    block: Block,
    shape: Shape,
}

/// Serves these sets until the process ends; says where on the standard output.
pub(crate) fn serve(sets: Vec<Set>, shape: Shape, say: impl FnOnce(SocketAddr)) {
    let block = Block::new();
    let crcs = sets.iter().map(|set| (0..set.objects).map(|n| crc(&block, n, set.size_bytes)).collect()).collect();
    let store = Arc::new(Store { sets, crcs, block, shape });
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port of the loopback interface");
    say(listener.local_addr().expect("it is bound"));
    for stream in listener.incoming().flatten() {
        let store = Arc::clone(&store);
        // A client that goes away in the middle of an answer is none of the store's business.
        std::thread::spawn(move || drop(store.connection(&stream)));
    }
}

fn crc(block: &Block, n: usize, size_bytes: u64) -> u64 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme);
    let mut offset = 0;
    while offset < size_bytes {
        let stretch = block.stretch(n, offset, size_bytes - offset);
        digest.update(stretch);
        offset += stretch.len() as u64;
    }
    digest.finalize()
}

struct Request {
    method: String,
    path: String,
    query: String,
    range: Option<String>,
    if_match: Option<String>,
}

impl Store {
    fn connection(&self, stream: &TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        while let Some(request) = read_request(&mut reader)? {
            if !self.shape.latency.is_zero() {
                std::thread::sleep(self.shape.latency);
            }
            self.answer(stream, &request)?;
        }
        Ok(())
    }

    fn answer(&self, stream: &TcpStream, request: &Request) -> std::io::Result<()> {
        let mut parts = request.path.trim_start_matches('/').splitn(2, '/');
        let (_bucket, key) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if key.is_empty() {
            let body = if request.method == "HEAD" { String::new() } else { self.listing(&request.query) };
            return reply(stream, "200 OK", "Content-Type: application/xml\r\n", &body);
        }
        match self.find(key) {
            Some((set, n)) => self.object(stream, request, set, n),
            None if request.method == "HEAD" => reply(stream, "404 Not Found", "", ""),
            None => reply(stream, "404 Not Found", "", "<Error><Code>NoSuchKey</Code></Error>"),
        }
    }

    fn find(&self, key: &str) -> Option<(usize, usize)> {
        let (prefix, n) = key.rsplit_once('/')?;
        let set = self.sets.iter().position(|set| set.prefix == prefix)?;
        let n = n.parse().ok().filter(|n| *n < self.sets[set].objects)?;
        Some((set, n))
    }

    fn object(&self, mut stream: &TcpStream, request: &Request, set: usize, n: usize) -> std::io::Result<()> {
        let size_bytes = self.sets[set].size_bytes;
        let etag = etag(set, n);
        if request.if_match.as_ref().is_some_and(|asked| *asked != etag) {
            return reply(stream, "412 Precondition Failed", "", "<Error><Code>PreconditionFailed</Code></Error>");
        }
        let range = request.range.as_deref().and_then(|text| range(text, size_bytes));
        let (first, length) = range.unwrap_or((0, size_bytes));
        let status = if range.is_some() { "206 Partial Content" } else { "200 OK" };
        let mut head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nETag: {etag}\r\nAccept-Ranges: bytes\r\n\
             Last-Modified: Fri, 20 Nov 2026 11:00:31 GMT\r\nContent-Type: application/octet-stream\r\n"
        );
        if range.is_some() {
            head.push_str(&format!("Content-Range: bytes {first}-{}/{size_bytes}\r\n", first + length - 1));
        } else {
            let crc = base64(&self.crcs[set][n].to_be_bytes());
            head.push_str(&format!("x-amz-checksum-crc64nvme: {crc}\r\nx-amz-checksum-type: FULL_OBJECT\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes())?;
        if request.method == "HEAD" {
            return Ok(());
        }
        let (begun, mut sent) = (Instant::now(), 0);
        let at_once = if self.shape.bytes_per_second == 0 { WRITE_BYTES } else { PACED_BYTES };
        while sent < length {
            let stretch = self.block.stretch(n, first + sent, (length - sent).min(at_once as u64));
            stream.write_all(stretch)?;
            sent += stretch.len() as u64;
            self.pace(begun, sent);
        }
        Ok(())
    }

    fn pace(&self, begun: Instant, sent: u64) {
        if self.shape.bytes_per_second == 0 {
            return;
        }
        let due = Duration::from_secs_f64(sent as f64 / self.shape.bytes_per_second as f64);
        let ahead = due.saturating_sub(begun.elapsed());
        if ahead > Duration::from_micros(500) {
            std::thread::sleep(ahead);
        }
    }

    fn listing(&self, query: &str) -> String {
        let value = |name: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.filter(|(n, _)| *n == name).map(|(_, v)| v.replace("%2F", "/")).next().unwrap_or_default()
        };
        let prefix = value("prefix");
        let after = ["continuation-token", "start-after", "marker"].map(value).into_iter().max().unwrap_or_default();
        let mut keys: Vec<(String, usize, usize)> = Vec::new();
        for (s, set) in self.sets.iter().enumerate() {
            keys.extend((0..set.objects).map(|n| (set.key(n), s, n)));
        }
        keys.retain(|(key, ..)| key.starts_with(&prefix) && *key > after);
        keys.sort();
        let more = keys.len() > PAGE_MAX;
        keys.truncate(PAGE_MAX);
        let mut xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult><Name>b</Name><Prefix>{prefix}</Prefix>\
             <MaxKeys>{PAGE_MAX}</MaxKeys><KeyCount>{}</KeyCount><IsTruncated>{more}</IsTruncated>",
            keys.len()
        );
        if let Some((last, ..)) = keys.last().filter(|_| more) {
            let next = format!("<NextContinuationToken>{last}</NextContinuationToken><NextMarker>{last}</NextMarker>");
            xml.push_str(&next);
        }
        for (key, set, n) in keys {
            xml.push_str(&format!(
                "<Contents><Key>{key}</Key><LastModified>2026-11-20T11:00:31.000Z</LastModified><ETag>{}</ETag>\
                 <Size>{}</Size><StorageClass>STANDARD</StorageClass></Contents>",
                etag(set, n).replace('"', "&quot;"),
                self.sets[set].size_bytes
            ));
        }
        xml.push_str("</ListBucketResult>");
        xml
    }
}

/// That of an upload in parts: nobody takes it for an MD5.
fn etag(set: usize, n: usize) -> String {
    format!("\"{:032x}-2\"", set * 1_000_000 + n)
}

fn range(text: &str, size_bytes: u64) -> Option<(u64, u64)> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let first: u64 = first.parse().ok()?;
    let last = last.parse().unwrap_or(u64::MAX).min(size_bytes.saturating_sub(1));
    (first <= last).then(|| (first, last - first + 1))
}

fn reply(mut stream: &TcpStream, status: &str, headers: &str, body: &str) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes())
}

fn read_request(reader: &mut BufReader<&TcpStream>) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_ascii_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (path, query) = (path.replace("%2F", "/"), query.to_owned());
    let mut request = Request { method: method.to_owned(), path, query, range: None, if_match: None };
    let mut body_bytes = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "range" => request.range = Some(value.to_owned()),
            "if-match" => request.if_match = Some(value.to_owned()),
            "content-length" => body_bytes = value.parse().unwrap_or(0),
            _ => {}
        }
    }
    std::io::copy(&mut reader.take(body_bytes), &mut std::io::sink())?;
    Ok(Some(request))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let n = three.iter().fold(0u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let digit = DIGITS[(n >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= three.len() { char::from(digit) } else { '=' });
        }
    }
    text
}
