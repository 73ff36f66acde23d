//! What the authority saw: every request, without secrets, tokens and signatures.

use std::{collections::VecDeque, sync::Mutex};

use http::{HeaderMap, HeaderName};
use serde::Serialize;
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use crate::{Certificate, Endpoint, encoding::from_base64, jwt::Jwt, lock, request::Form};

/// The log keeps this many entries; older ones are dropped.
const ENTRIES: usize = 10_000;
/// Longer values and paths are cut.
const LONGEST: usize = 1024;

/// One request and how it ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct LogEntry {
    /// Counts up from 1.
    pub sequence: u64,
    /// When the request was read, in milliseconds since 1970.
    pub time_unix_ms: u64,
    /// The TCP connection it came on, as in [`Stats`](crate::Stats).
    pub connection: u64,
    /// Whether that connection's TLS session was resumed.
    pub tls_resumed: bool,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub protocol: String,
    /// The method.
    pub method: String,
    /// Which endpoint was called, if it is one.
    pub endpoint: Option<Endpoint>,
    /// The host of the URL, which is the name of the handshake; at a platform's endpoints with the port.
    pub host: String,
    /// The path of the URL.
    pub path: String,
    /// The parameters of the query, in order.
    pub query: Vec<Field>,
    /// The path's first segment where it names a tenant.
    pub tenant: Option<String>,
    /// The headers that say something about the client, in alphabetical order.
    pub headers: Vec<Field>,
    /// The form's fields, in order.
    pub form: Vec<Field>,
    /// The `x5t#S256` of the certificate that the client presented in the handshake.
    pub client_certificate: Option<String>,
    /// The faults that were injected, by kind.
    pub faults: Vec<String>,
    /// The status of the answer; nothing when there was none (yet).
    pub status: Option<u16>,
    /// The OAuth `error` of a refusal.
    pub error: Option<String>,
    /// The number after `AADSTS` of a refusal.
    pub aadsts: Option<u32>,
    /// The trace id of the answer.
    pub trace_id: Option<String>,
    /// The correlation id of the answer.
    pub correlation_id: Option<String>,
}

impl LogEntry {
    /// The shown text of a form field; nothing when the field is absent or redacted.
    #[must_use]
    pub fn form_text(&self, name: &str) -> Option<&str> {
        text_of(&self.form, name)
    }

    /// The shown text of a header (lower-case name).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        text_of(&self.headers, name)
    }

    /// The names of the form's fields, in order.
    pub fn form_names(&self) -> impl Iterator<Item = &str> {
        self.form.iter().map(|field| field.name.as_str())
    }

    /// The shown text of a parameter of the query.
    #[must_use]
    pub fn query_text(&self, name: &str) -> Option<&str> {
        text_of(&self.query, name)
    }

    /// Header and payload of the client assertion.
    #[must_use]
    pub fn client_assertion(&self) -> Option<(&Value, &Value)> {
        self.form_token("client_assertion")
    }

    /// Header and payload of a form field that holds a token: `assertion`, `client_assertion` or
    /// `user_federated_identity_credential`.
    #[must_use]
    pub fn form_token(&self, name: &str) -> Option<(&Value, &Value)> {
        match &self.form.iter().find(|field| field.name == name)?.value {
            FieldValue::Token { header, payload } => Some((header, payload)),
            _ => None,
        }
    }
}

/// A named value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Field {
    /// The name as sent (headers: in lower case).
    pub name: String,
    /// What is shown of the value.
    pub value: FieldValue,
}

/// What is shown of a value.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum FieldValue {
    /// The value itself: it is no secret.
    Text(String),
    /// A JSON Web Token without its signature. The certificates of an `x5c` are shown by their `x5t#S256`.
    Token {
        /// The header.
        header: Value,
        /// The payload.
        payload: Value,
    },
    /// Only the length, in characters.
    Redacted {
        /// The length.
        characters: usize,
    },
}

/// The log, bounded.
#[derive(Debug, Default)]
pub(crate) struct Log {
    inner: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    last: u64,
    entries: VecDeque<LogEntry>,
}

impl Log {
    /// Adds the entry under the next sequence number, which is returned.
    pub(crate) fn push(&self, mut entry: LogEntry) -> u64 {
        let mut inner = lock(&self.inner);
        inner.last += 1;
        entry.sequence = inner.last;
        if inner.entries.len() == ENTRIES {
            inner.entries.pop_front();
        }
        inner.entries.push_back(entry);
        inner.last
    }

    pub(crate) fn update(&self, sequence: u64, change: impl FnOnce(&mut LogEntry)) {
        let mut inner = lock(&self.inner);
        if let Some(entry) = inner.entries.iter_mut().rev().find(|entry| entry.sequence == sequence) {
            change(entry);
        }
    }

    pub(crate) fn entries(&self) -> Vec<LogEntry> {
        lock(&self.inner).entries.iter().cloned().collect()
    }

    /// Sequence numbers go on.
    pub(crate) fn clear(&self) {
        lock(&self.inner).entries.clear();
    }
}

pub(crate) fn form_fields(form: &Form) -> Vec<Field> {
    form.iter().map(|(name, value)| field(name, form_value(name, value))).collect()
}

pub(crate) fn query_fields(query: &str) -> Vec<Field> {
    let shown = |name: &str, value: &str| {
        if QUERY.contains(&name) { text(value) } else { redacted(value) }
    };
    form_urlencoded::parse(query.as_bytes()).map(|(name, value)| field(&name, shown(&name, &value))).collect()
}

pub(crate) fn header_fields(headers: &HeaderMap) -> Vec<Field> {
    let mut fields: Vec<_> = headers
        .iter()
        .filter_map(|(name, value)| Some(field(name.as_str(), header_value(name, value.to_str().ok()?)?)))
        .collect();
    fields.sort_by(|a, b| a.name.cmp(&b.name));
    fields
}

pub(crate) fn path(path: &str) -> String {
    path.chars().take(LONGEST).collect()
}

fn form_value(name: &str, value: &str) -> FieldValue {
    if OPEN.contains(&name) {
        return text(value);
    }
    match Jwt::parse(value).filter(|_| TOKENS.contains(&name)) {
        Some(jwt) => FieldValue::Token {
            header: Value::Object(header(jwt.header)),
            payload: Value::Object(jwt.payload),
        },
        None => redacted(value),
    }
}

fn header_value(name: &HeaderName, value: &str) -> Option<FieldValue> {
    let name = name.as_str();
    if SECRET_HEADERS.contains(&name) {
        return Some(redacted(value));
    }
    (HEADERS.contains(&name) || name.starts_with("x-client-")).then(|| text(value))
}

fn header(mut header: Map<String, Value>) -> Map<String, Value> {
    let thumbprint = |text: &Value| {
        let der = text.as_str().and_then(from_base64).unwrap_or_default();
        Certificate::from_der(&der).map_or(Value::Null, |certificate| json!(certificate.x5t_s256()))
    };
    if let Some(x5c) = header.get_mut("x5c") {
        *x5c = match &*x5c {
            Value::Array(chain) => {
                json!({ "form": "array", "x5t#S256": chain.iter().map(thumbprint).collect::<Vec<_>>() })
            }
            one => json!({ "form": "string", "x5t#S256": [thumbprint(one)] }),
        };
    }
    header
}

fn field(name: &str, value: FieldValue) -> Field {
    Field { name: path(name), value }
}

fn text(value: &str) -> FieldValue {
    FieldValue::Text(value.chars().take(LONGEST).collect())
}

fn redacted(value: &str) -> FieldValue {
    FieldValue::Redacted { characters: value.chars().count() }
}

fn text_of<'a>(fields: &'a [Field], name: &str) -> Option<&'a str> {
    match &fields.iter().find(|field| field.name == name)?.value {
        FieldValue::Text(text) => Some(text),
        _ => None,
    }
}

/// Form fields that are no secrets.
const OPEN: &[&str] = &[
    "attributes",
    "claims",
    "client_assertion_type",
    "client_id",
    "client_info",
    "fmi_path",
    "grant_type",
    "redirect_uri",
    "req_cnf",
    "requested_token_use",
    "resource",
    "return_spa_code",
    "scope",
    "token_type",
    "user_id",
    "username",
];
/// Form fields that hold a JSON Web Token.
const TOKENS: &[&str] = &["assertion", "client_assertion", "user_federated_identity_credential"];
/// Parameters of a query that are no secrets.
const QUERY: &[&str] = &[
    "api-version",
    "authorization_endpoint",
    "claims",
    "client_id",
    "client_info",
    "clientid",
    "code_challenge_method",
    "cred-api-version",
    "dc",
    "login_hint",
    "mi_res_id",
    "msi_res_id",
    "object_id",
    "principalId",
    "principal_id",
    "prompt",
    "redirect_uri",
    "resource",
    "response_mode",
    "response_type",
    "scope",
    "slice",
    "token_sha256_to_refresh",
    "xms_cc",
];
/// Headers of which the length is shown.
const SECRET_HEADERS: &[&str] = &["authorization", "secret", "x-identity-header"];
/// Headers worth a look, beside `x-client-*`.
const HEADERS: &[&str] = &[
    "accept",
    "client-request-id",
    "content-length",
    "content-type",
    "contenttype",
    "metadata",
    "origin",
    "return-client-request-id",
    "user-agent",
    "x-anchormailbox",
    "x-forwarded-for",
    "x-ms-client-request-id",
    "x-ms-lib-capability",
    "x-ms-pkeyauth",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwt::SigningKey;

    #[test]
    fn secrets_tokens_and_signatures_stay_out() {
        let token = SigningKey::generate("t", 0).unwrap().sign(&json!({ "iss": "me" }));
        let signature = token.rsplit('.').next().unwrap();
        for (name, value) in [
            ("client_secret", "canary"),
            ("password", "canary"),
            ("refresh_token", &token),
            ("unknown", "canary"),
            ("client_assertion", &token),
            ("assertion", "canary"),
        ] {
            let shown = serde_json::to_string(&field(name, form_value(name, value))).unwrap();
            assert!(!shown.contains("canary") && !shown.contains(signature), "{name}: {shown}");
        }
        let shown = form_value("client_assertion", &token);
        assert!(matches!(shown, FieldValue::Token { payload, .. } if payload == json!({ "iss": "me" })));
    }

    #[test]
    fn the_log_is_bounded_and_counts_on() {
        let log = Log::default();
        let entry = || serde_entry();
        for _ in 0..=ENTRIES {
            log.push(entry());
        }
        assert_eq!(log.entries().len(), ENTRIES);
        assert_eq!(log.entries()[0].sequence, 2);
        log.clear();
        assert_eq!(log.push(entry()), ENTRIES as u64 + 2);
    }

    fn serde_entry() -> LogEntry {
        LogEntry {
            sequence: 0,
            time_unix_ms: 0,
            connection: 0,
            tls_resumed: false,
            protocol: String::new(),
            method: String::new(),
            endpoint: None,
            host: String::new(),
            path: String::new(),
            query: Vec::new(),
            tenant: None,
            headers: Vec::new(),
            form: Vec::new(),
            client_certificate: None,
            faults: Vec::new(),
            status: None,
            error: None,
            aadsts: None,
            trace_id: None,
            correlation_id: None,
        }
    }
}
