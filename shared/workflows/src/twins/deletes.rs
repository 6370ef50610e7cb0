//! Deleting from the bucket twin.

use super::BucketTwin;
use super::calls::Call;
use crate::ports::deletes::KEYS_MAX;
use crate::ports::fault::{Happened, Retry};
use crate::ports::{Deletes, Fault};

impl Deletes for BucketTwin {
    async fn hide(&self, keys: &[String]) -> Result<(), Fault> {
        let subject = subject(keys);
        self.world
            .call(Call::Hide, subject, |inner| {
                if keys.is_empty() || keys.len() > KEYS_MAX {
                    let text = format!("MalformedXML: {} keys", keys.len());
                    return Err(Fault::new("hide", subject, Happened::No, Retry::No, text));
                }
                let (now, versioned) = (inner.now, inner.settings.versioned);
                for key in keys {
                    inner.store(&self.name).delete(key, now, versioned);
                }
                Ok(())
            })
            .await
    }
}

pub(super) fn subject(keys: &[String]) -> &str {
    keys.first().map_or("", String::as_str)
}
