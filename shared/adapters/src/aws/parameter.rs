//! Secrets: read from SSM Parameter Store when they are used, wrapped so that no log can show them.

use std::fmt;

use aws_sdk_ssm::Client;
use lifeboat_workflows::ports::Fault;

use super::fault::Call;
use crate::weaviate::KeySource;

/// A secret text. It has no `Display`, and its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text; blanks and line feeds around it, which editors leave, are no part of it.
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// The text, for the one header it belongs in.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A secret by the name of its SSM parameter. `/aws/reference/secretsmanager/NAME` reads a Secrets Manager secret
/// through the same call.
#[derive(Debug, Clone)]
pub struct ParameterKey {
    client: Client,
    name: String,
}

impl ParameterKey {
    /// The parameter of this name.
    pub fn new(client: Client, name: &str) -> Self {
        Self { client, name: name.to_owned() }
    }
}

impl KeySource for ParameterKey {
    async fn key(&self) -> Result<Secret, Fault> {
        let call = Call::reads("get parameter", &self.name);
        let reply = self
            .client
            .get_parameter()
            .name(&self.name)
            .with_decryption(true)
            .send()
            .await
            .map_err(|e| call.fault(e))?;
        let value = reply.parameter().and_then(|p| p.value()).map(Secret::new);
        value.filter(|v| !v.expose().is_empty()).ok_or_else(|| call.nonsense("the parameter has no value"))
    }
}
