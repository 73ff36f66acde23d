//! What a platform's endpoint is asked, and what it answers.

use http::{HeaderMap, HeaderName, Method};
use serde_json::Value;

use crate::request::Form;

/// A request at a platform's endpoint.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) query: Form,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
    pub(crate) correlation_id: &'a str,
    pub(crate) now_unix: u64,
}

impl Request<'_> {
    /// The text of a header; nothing where it is absent, repeated or no text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let first = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(first)
    }

    /// `Metadata: true`, in lower case: what keeps a forged request of a server (SSRF) out.
    pub(super) fn has_metadata_header(&self) -> bool {
        self.header("metadata") == Some("true")
    }
}

/// The answer of a platform's endpoint.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(HeaderName, String)>,
    pub(crate) body: String,
    /// For the log: the platform's code of a refusal.
    pub(crate) error: Option<String>,
}

impl Reply {
    pub(super) fn ok(body: &Value) -> Self {
        Self { status: 200, headers: Vec::new(), body: body.to_string(), error: None }
    }

    /// A refusal under the platform's code for it.
    pub(super) fn refused(status: u16, error: &str, body: &Value) -> Self {
        Self { status, error: Some(error.to_owned()), ..Self::ok(body) }
    }

    pub(super) fn header(mut self, name: HeaderName, value: String) -> Self {
        self.headers.push((name, value));
        self
    }
}
