//! Refusals in the two shapes that Weaviate gives them: its handlers' own, and its HTTP framework's.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// An answer that refuses, ready to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    /// HTTP status.
    pub(crate) status: StatusCode,
    /// What is said, and in which shape.
    pub(crate) body: RefusalBody,
}

/// The shape of a refusal's body.
#[derive(Debug, Clone)]
pub(crate) enum RefusalBody {
    /// `{"error":[{"message":…}]}`
    Handler(String),
    /// `{"code":…,"message":…}`
    Framework(u16, String),
    /// Nothing at all: what a panic inside a real handler leaves, with status 200.
    Empty,
}

impl Refusal {
    /// A handler's own error.
    pub(crate) fn handler(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, body: RefusalBody::Handler(message.into()) }
    }

    /// 422 in the handlers' shape.
    pub(crate) fn unprocessable(message: impl Into<String>) -> Self {
        Self::handler(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    /// 404 in the handlers' shape.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::handler(StatusCode::NOT_FOUND, message)
    }

    /// 500 in the handlers' shape.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::handler(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// 403 in the handlers' shape.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::handler(StatusCode::FORBIDDEN, message)
    }

    /// The framework's error; codes from 600 on travel as 422.
    pub(crate) fn framework(code: u16, message: impl Into<String>) -> Self {
        let status = if code >= 600 { 422 } else { code };
        Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            body: RefusalBody::Framework(code, message.into()),
        }
    }

    /// Status 200 and no body, as after a panic in a handler.
    pub(crate) fn empty_ok() -> Self {
        Self { status: StatusCode::OK, body: RefusalBody::Empty }
    }

    /// The text of the refusal.
    pub(crate) fn message(&self) -> &str {
        match &self.body {
            RefusalBody::Handler(text) | RefusalBody::Framework(_, text) => text,
            RefusalBody::Empty => "",
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self.body {
            RefusalBody::Handler(message) => {
                (self.status, Json(json!({"error": [{"message": message}]}))).into_response()
            }
            RefusalBody::Framework(code, message) => {
                (self.status, Json(json!({"code": code, "message": message}))).into_response()
            }
            RefusalBody::Empty => self.status.into_response(),
        }
    }
}
