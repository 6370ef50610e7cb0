//! The bucket twin as a source of bytes for the engine: one call a request, bytes in pieces.

use std::time::Duration;

use futures::stream::{self, Iter};
use lifeboat_engine::Bytes;
use lifeboat_engine::{
    Again, Algorithm, Answer, Ask, Description, ListedObject, Listing, Opened, Pinned, ReadFault, Recorded, Source,
};

use super::bucket::{BucketTwin, found};
use super::calls::Call;
use super::objects::Version;
use super::plan::{Crashed, Marked, Planned};
use crate::ports::{Bucket, Clock as _};

/// What the twin sends at once.
const PIECE_BYTES: usize = 64 << 10;

/// The checksum of the whole object, where the writer asked the store for one.
fn recorded(version: &Version) -> Option<Recorded> {
    let hex = version.sha256.as_ref()?.as_str();
    let byte = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    let digest = (0..hex.len()).step_by(2).map(byte).collect::<Option<Vec<u8>>>()?;
    Some(Recorded { algorithm: Algorithm::Sha256, digest })
}

type Pieces = Iter<std::vec::IntoIter<Result<Bytes, ReadFault>>>;

impl Source for BucketTwin {
    type Body = Pieces;

    async fn describe(&self, object: &Pinned) -> Result<Answer<Description>, ReadFault> {
        let described = self.call(Call::Head, &object.key, |inner| {
            Ok(match found(inner.store(&self.name), object) {
                None => Answer::Missing,
                Some((version, _)) if version.etag != object.etag => Answer::Changed,
                Some((version, body)) => {
                    Answer::Here(Description { size_bytes: body.len() as u64, recorded: recorded(version) })
                }
            })
        });
        Ok(described.await?)
    }

    async fn open(&self, object: &Pinned, ask: Ask) -> Result<Answer<Opened<Pieces>>, ReadFault> {
        let opened = self.call(Call::Read, &object.key, |inner| {
            let short = inner.take_short_read(&object.key);
            let Some((version, body)) = found(inner.store(&self.name), object) else {
                return Ok(Answer::Missing);
            };
            if version.etag != object.etag {
                return Ok(Answer::Changed);
            }
            let (size_bytes, recorded) = (body.len() as u64, recorded(version));
            let (offset, length) = match ask {
                Ask::Whole => (0, size_bytes),
                Ask::Range { offset, .. } if offset >= size_bytes => return Ok(Answer::BeyondEnd),
                Ask::Range { offset, length } => (offset, length.min(size_bytes - offset)),
            };
            let place = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
            let sent = length - u64::from(short && length > 0);
            let mut pieces: Vec<_> = body[place(offset)..place(offset + sent)]
                .chunks(PIECE_BYTES)
                .map(|piece| Ok(Bytes::copy_from_slice(piece)))
                .collect();
            if sent < length {
                pieces.push(Err(ReadFault::new("the connection was cut", Again::Soon)));
            }
            Ok(Answer::Here(Opened { offset, length, size_bytes, recorded, body: stream::iter(pieces) }))
        });
        Ok(opened.await?)
    }

    async fn page(&self, prefix: &str, after: Option<&str>) -> Result<Listing, ReadFault> {
        let page = self.list(prefix, after).await?;
        let listed = page.entries.into_iter();
        let objects = listed.map(|o| ListedObject { key: o.key, size_bytes: o.size_bytes, etag: o.etag }).collect();
        Ok(Listing { objects, more: page.more })
    }

    async fn pause(&self, how_long: Duration) {
        self.world.clock().sleep(how_long).await;
    }
}

impl Marked for ReadFault {
    fn crashed(call: Call, subject: &str) -> Self {
        Self::from_source(format!("{} {subject} failed", call.name()), Again::Never, Crashed)
    }

    fn reply_lost(call: Call, subject: &str) -> Self {
        Self::new(format!("{} {subject} failed: the reply was lost (fault plan)", call.name()), Again::Soon)
    }
}

impl<B: Bucket> Source for Planned<B> {
    type Body = B::Body;

    async fn describe(&self, object: &Pinned) -> Result<Answer<Description>, ReadFault> {
        self.plan.run(Call::Head, &object.key, self.port.describe(object)).await
    }

    async fn open(&self, object: &Pinned, ask: Ask) -> Result<Answer<Opened<B::Body>>, ReadFault> {
        self.plan.run(Call::Read, &object.key, self.port.open(object, ask)).await
    }

    async fn page(&self, prefix: &str, after: Option<&str>) -> Result<Listing, ReadFault> {
        self.plan.run(Call::List, prefix, self.port.page(prefix, after)).await
    }

    async fn pause(&self, how_long: Duration) {
        self.port.pause(how_long).await;
    }
}
