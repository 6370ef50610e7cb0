//! A store in memory that does to each request what a script says, in virtual time.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use lifeboat_engine::{
    Again, Answer, Ask, Bytes, Description, EtagIs, ListedObject, Listing, Object, Opened, Pinned, ReadFault, Recorded,
    Source,
};

/// What happens to one request for bytes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Act {
    /// Nothing bad.
    Serve,
    /// The body breaks off after so many bytes.
    Cut(u64),
    /// The body ends after so many bytes as if that were all.
    End(u64),
    /// More bytes come than the head announced.
    More,
    /// 503 SlowDown.
    SlowDown,
    /// 403.
    Denied,
    /// No head ever comes.
    Silent,
    /// Nothing comes after so many bytes.
    Stall(u64),
    /// So many bytes come each second.
    Drip(u64),
    /// The whole object, whatever was asked for.
    IgnoreRange,
    /// The head announces bytes that begin elsewhere.
    WrongRange,
    /// The head announces another size of the object.
    WrongSize,
    /// Somebody overwrites the object before this request.
    Overwrite,
    /// Somebody deletes it.
    Delete,
    /// One bit of what comes is another.
    FlipBit,
}

/// The store.
pub(crate) struct Store {
    objects: Mutex<BTreeMap<String, (Bytes, u32)>>,
    script: Mutex<VecDeque<Act>>,
    /// What the store says that it recorded.
    pub(crate) recorded: Option<Recorded>,
    /// Bytes of each piece.
    pub(crate) piece_bytes: usize,
    /// Requests for bytes so far, and how many were open at once at most.
    pub(crate) counts: Mutex<Counts>,
    /// Keys of a page.
    pub(crate) page_keys: usize,
}

#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) opened: usize,
    pub(crate) open: usize,
    pub(crate) open_max: usize,
}

pub(crate) const KEY: &str = "k";

/// Bytes that tell where they are from.
pub(crate) fn bytes(many: usize) -> Bytes {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(many).collect()
}

impl Store {
    /// One object, and what happens to the first requests for its bytes; to others nothing does.
    pub(crate) fn new(body: Bytes, script: impl IntoIterator<Item = Act>) -> Self {
        Self {
            objects: Mutex::new(BTreeMap::from([(KEY.to_owned(), (body, 1))])),
            script: Mutex::new(script.into_iter().collect()),
            recorded: None,
            piece_bytes: 1_000,
            counts: Mutex::default(),
            page_keys: 1_000,
        }
    }

    /// Another object.
    pub(crate) fn put(&self, key: &str, body: Bytes) {
        self.objects.lock().unwrap().insert(key.to_owned(), (body, 1));
    }

    /// The object as a listing gives it now.
    pub(crate) fn listed(&self, key: &str) -> Object {
        let objects = self.objects.lock().unwrap();
        let (body, version) = &objects[key];
        Object {
            pinned: Pinned { key: key.to_owned(), etag: etag(*version), version_id: None },
            size_bytes: body.len() as u64,
            etag_is: EtagIs::Opaque,
        }
    }

    fn find<T>(&self, object: &Pinned, then: impl FnOnce(&Bytes) -> T) -> Answer<T> {
        match self.objects.lock().unwrap().get(&object.key) {
            None => Answer::Missing,
            Some((_, version)) if etag(*version) != object.etag => Answer::Changed,
            Some((body, _)) => Answer::Here(then(body)),
        }
    }
}

fn etag(version: u32) -> String {
    format!("\"version {version}\"")
}

type Body = Pin<Box<dyn Stream<Item = Result<Bytes, ReadFault>> + Send>>;

fn broken() -> ReadFault {
    ReadFault::new("connection reset", Again::Soon)
}

impl Source for &Store {
    type Body = Body;

    async fn describe(&self, object: &Pinned) -> Result<Answer<Description>, ReadFault> {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let recorded = self.recorded.clone();
        Ok(self.find(object, |body| Description { size_bytes: body.len() as u64, recorded }))
    }

    async fn open(&self, object: &Pinned, ask: Ask) -> Result<Answer<Opened<Body>>, ReadFault> {
        let act = self.script.lock().unwrap().pop_front().unwrap_or(Act::Serve);
        tokio::time::sleep(Duration::from_millis(5)).await;
        match act {
            Act::SlowDown => return Err(ReadFault::new("503 SlowDown", Again::Slower)),
            Act::Denied => return Err(ReadFault::new("403 AccessDenied", Again::Never)),
            Act::Silent => std::future::pending().await,
            Act::Overwrite => {
                let mut objects = self.objects.lock().unwrap();
                let (body, version) = objects.get_mut(&object.key).expect("it is there");
                *body = body.iter().map(|b| b ^ 1).collect();
                *version += 1;
            }
            Act::Delete => drop(self.objects.lock().unwrap().remove(&object.key)),
            _ => {}
        }
        let body = match self.find(object, Bytes::clone) {
            Answer::Here(body) => body,
            Answer::Changed => return Ok(Answer::Changed),
            Answer::Missing => return Ok(Answer::Missing),
            Answer::BeyondEnd => return Ok(Answer::BeyondEnd),
        };
        let size_bytes = body.len() as u64;
        let (mut offset, length) = match ask {
            Ask::Whole => (0, size_bytes),
            _ if act == Act::IgnoreRange => (0, size_bytes),
            Ask::Range { offset, length } => (offset, length.min(size_bytes - offset)),
        };
        let mut sent = body.slice(usize::try_from(offset).unwrap()..usize::try_from(offset + length).unwrap());
        let mut end: Option<Body> = None;
        let mut every = Duration::ZERO;
        match act {
            Act::Cut(n) => {
                sent.truncate(usize::try_from(n).unwrap());
                end = Some(stream::iter([Err(broken())]).boxed());
            }
            Act::End(n) => sent.truncate(usize::try_from(n).unwrap()),
            Act::Stall(n) => {
                sent.truncate(usize::try_from(n).unwrap());
                end = Some(stream::pending().boxed());
            }
            Act::More => sent = [sent, Bytes::from_static(b"!")].concat().into(),
            Act::Drip(n) => every = Duration::from_secs(self.piece_bytes as u64) / u32::try_from(n).unwrap(),
            Act::FlipBit if !sent.is_empty() => {
                let mut flipped = sent.to_vec();
                let middle = flipped.len() / 2;
                flipped[middle] ^= 0x10;
                sent = flipped.into();
            }
            Act::WrongRange => offset += 1,
            _ => {}
        }
        let size_bytes = if act == Act::WrongSize { size_bytes + 1 } else { size_bytes };
        let pieces: Vec<Bytes> = sent.chunks(self.piece_bytes).map(|piece| sent.slice_ref(piece)).collect();
        let pieces = stream::iter(pieces).then(move |piece| async move {
            if !every.is_zero() {
                tokio::time::sleep(every).await;
            }
            Ok(piece)
        });
        let body: Body = match end {
            Some(end) => pieces.chain(end).boxed(),
            None => pieces.boxed(),
        };
        let recorded = self.recorded.clone().filter(|_| ask == Ask::Whole);
        let body = self.counted(body);
        Ok(Answer::Here(Opened { offset, length, size_bytes, recorded, body }))
    }

    async fn page(&self, prefix: &str, after: Option<&str>) -> Result<Listing, ReadFault> {
        if self.script.lock().unwrap().pop_front() == Some(Act::SlowDown) {
            return Err(ReadFault::new("503 SlowDown", Again::Slower));
        }
        let objects = self.objects.lock().unwrap();
        let all = objects.iter().filter(|(k, _)| k.starts_with(prefix) && after.is_none_or(|a| k.as_str() > a));
        let mut listed: Vec<ListedObject> = all
            .map(|(key, (body, version))| ListedObject {
                key: key.clone(),
                size_bytes: body.len() as u64,
                etag: etag(*version),
            })
            .collect();
        let more = listed.len() > self.page_keys;
        listed.truncate(self.page_keys);
        Ok(Listing { objects: listed, more })
    }
}

impl Store {
    fn counted(&self, body: Body) -> Body {
        let mut counts = self.counts.lock().unwrap();
        counts.opened += 1;
        counts.open += 1;
        counts.open_max = counts.open_max.max(counts.open);
        body
    }
}
