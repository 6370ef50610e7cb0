//! Who wants a backup: success markers and requests.

use jiff::Timestamp;
use lifeboat_domain::create::{Asking, Marker, MemberState, Policy, covered};
use lifeboat_domain::event::Hint;
use lifeboat_domain::keys::{Function, Key, marker_dataset};
use lifeboat_domain::runs::{Action, Request};

use super::Error;
use super::observe::{Sight, State};
use crate::ports::Bucket;
use crate::ports::bucket::Listed;
use crate::store::{self, StoreError};

/// Pages of the marker prefix that one look takes, of up to 1,000 keys each.
pub const MARKER_PAGES_MAX: usize = 20;
/// Pages of requests that one look takes; they expire, so there are never so many.
const REQUEST_PAGES_MAX: usize = 10;

/// Looks only for an owner that may be backed up: anybody else's wishes are kept for it.
pub(super) async fn look<B: Bucket, M: Bucket>(
    bucket: &B,
    markers: &M,
    policy: &Policy,
    hint: &Hint,
    state: &State,
) -> Result<Sight, Error> {
    let cursor = state.run.marker_cursor.clone();
    let covered = covered(&state.run, state.pointer.as_ref());
    let (mut newest, mut next) = (None, cursor.clone());
    if state.member == MemberState::InService {
        (newest, next) = sweep(markers, &policy.marker_prefix, cursor).await?;
        if let Some(hinted) = hinted(markers, &policy.marker_prefix, hint).await? {
            newest = newer(newest, hinted);
        }
    }
    let (requests, refused) = match state.member {
        MemberState::InService | MemberState::Leaving => requests(bucket, state, covered).await?,
        MemberState::Elsewhere(_) | MemberState::Gone => (Vec::new(), Vec::new()),
    };
    Ok(Sight::Wishes { marker: newest, requests, refused, cursor: next })
}

/// The newest marker of some pages, and where the next look goes on when those were not all.
async fn sweep<M: Bucket>(
    markers: &M,
    prefix: &str,
    mut cursor: Option<String>,
) -> Result<(Option<Marker>, Option<String>), Error> {
    let mut newest = None;
    for _ in 0..MARKER_PAGES_MAX {
        let page = markers.list(prefix, cursor.as_deref()).await?;
        cursor = page.entries.last().map(|last| last.key.clone());
        for marker in page.entries.into_iter().filter_map(|listed| marker(prefix, listed)) {
            newest = newer(newest, marker);
        }
        if !page.more {
            return Ok((newest, None));
        }
    }
    Ok((newest, cursor))
}

/// The marker that the event names: in a prefix of many pages it would be found minutes later.
async fn hinted<M: Bucket>(markers: &M, prefix: &str, hint: &Hint) -> Result<Option<Marker>, Error> {
    match hint {
        Hint::ObjectCreated { key, .. } if marker_dataset(prefix, key).is_some() => {
            Ok(markers.head(key).await?.and_then(|listed| marker(prefix, listed)))
        }
        Hint::ObjectCreated { .. } | Hint::Tick | Hint::LifecycleAction { .. } | Hint::NotForUs { .. } => Ok(None),
    }
}

fn marker(prefix: &str, listed: Listed) -> Option<Marker> {
    let dataset = marker_dataset(prefix, &listed.key)?.to_owned();
    Some(Marker { key: listed.key, dataset, written_at: listed.last_modified })
}

fn newer(one: Option<Marker>, other: Marker) -> Option<Marker> {
    Some(match one {
        Some(one) if one.written_at >= other.written_at => one,
        Some(_) | None => other,
    })
}

/// The requests that no verdict covers and no try was made for, oldest first; and those that cannot be acted upon.
/// Only these are read, so that old requests cost a line of a listing each.
async fn requests<B: Bucket>(
    bucket: &B,
    state: &State,
    covered: Option<Timestamp>,
) -> Result<(Vec<Asking>, Vec<String>), Error> {
    let prefix = Key::requests_prefix(Function::CreateBackup);
    let (mut asking, mut refused, mut after) = (Vec::new(), Vec::new(), None::<String>);
    for _ in 0..REQUEST_PAGES_MAX {
        let page = bucket.list(&prefix, after.as_deref()).await?;
        after = page.entries.last().map(|last| last.key.clone());
        for listed in page.entries {
            if covered.is_some_and(|covered| listed.last_modified < covered) {
                continue;
            }
            let Some(Key::Request(function, id)) = Key::parse(&listed.key) else {
                refused.push(format!("{}: not a request's name", listed.key));
                continue;
            };
            if state.run.handled_requests.contains(&id) {
                continue;
            }
            match store::read::<Request>(bucket, &Key::Request(function, id.clone())).await {
                Ok(None) => {}
                Ok(Some(request)) if request.value.action == Action::Backup => {
                    asking.push(Asking { id, by: request.value.by, written_at: request.last_modified });
                }
                Ok(Some(_)) => refused.push(format!("{}: create-backup has no such action", listed.key)),
                Err(error @ StoreError::Document { .. }) => refused.push(format!("{}: {error}", listed.key)),
                Err(error @ StoreError::Bucket { .. }) => return Err(error.into()),
            }
        }
        if !page.more {
            break;
        }
    }
    asking.sort_by(|a, b| (a.written_at, &a.id).cmp(&(b.written_at, &b.id)));
    Ok((asking, refused))
}
