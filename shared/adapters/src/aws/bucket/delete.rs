//! Deleting. Whose port includes it is seen in the types of the workflows; whether it works, in the roles.

use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use lifeboat_workflows::ports::deletes::KEYS_MAX;
use lifeboat_workflows::ports::fault::{Happened, Retry};
use lifeboat_workflows::ports::{Deletes, Fault};

use super::S3Bucket;
use crate::aws::fault::Call;

impl Deletes for S3Bucket {
    async fn hide(&self, keys: &[String]) -> Result<(), Fault> {
        let subject = keys.first().map_or("", String::as_str);
        let call = Call::changes("hide", subject);
        if keys.is_empty() || keys.len() > KEYS_MAX {
            let what = format!("{} keys where 1 to {KEYS_MAX} are allowed", keys.len());
            return Err(Fault::new(call.step, subject, Happened::No, Retry::No, what));
        }
        let named = keys.iter().map(|key| ObjectIdentifier::builder().key(key).build());
        let named = named.collect::<Result<Vec<_>, _>>().map_err(|error| unfit(call.step, subject, error))?;
        // Quiet: only what failed is answered.
        let delete = Delete::builder().set_objects(Some(named)).quiet(true).build();
        let delete = delete.map_err(|error| unfit(call.step, subject, error))?;
        let reply = self.client.delete_objects().bucket(&self.name).delete(delete).send().await;
        let reply = reply.map_err(|error| call.fault(error))?;
        match reply.errors() {
            [] => Ok(()),
            [first, ..] => {
                let (code, key) = (first.code().unwrap_or("no code"), first.key().unwrap_or("a key"));
                let what =
                    format!("{} of {} keys were not hidden, first {key}: {code}", reply.errors().len(), keys.len());
                let retry = if code == "AccessDenied" { Retry::No } else { Retry::Yes };
                Err(Fault::new(call.step, subject, Happened::Maybe, retry, what))
            }
        }
    }
}

fn unfit(step: &'static str, subject: &str, error: impl std::error::Error + Send + Sync + 'static) -> Fault {
    Fault::new(step, subject, Happened::No, Retry::No, error)
}
