//! Requests, decoded into fields and compared.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::{alphabet, engine::DecodePaddingMode};
use serde_json::{Value, json};
use symbolon_authority::{CONTOSO, Field, FieldValue, LogEntry};
use uuid::Uuid;

type Fields = BTreeMap<String, Value>;

/// What the comparison of all steps found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// The steps, in order.
    pub(crate) steps: Vec<&'static str>,
    /// The requests that both sent, in order.
    pub(crate) requests: Vec<Kind>,
    /// The fields that differ.
    pub(crate) found: Vec<Found>,
}

/// A field that differs. `null` is one that isn't there.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) step: &'static str,
    /// The request by its number; nothing for what belongs to the step.
    pub(crate) request: Option<usize>,
    pub(crate) field: String,
    pub(crate) symbolon: Value,
    pub(crate) msal: Value,
}

/// What a request is: the grant type of a token request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kind(pub(crate) Cow<'static, str>);

impl Kind {
    /// The browser's request for a sign-in.
    pub(crate) const AUTHORIZE: Self = Self(Cow::Borrowed("authorize"));
    pub(crate) const AUTHORIZATION_CODE: Self = Self(Cow::Borrowed("authorization_code"));
    pub(crate) const CLIENT_CREDENTIALS: Self = Self(Cow::Borrowed("client_credentials"));

    fn of(entry: &LogEntry) -> Self {
        match entry.form_text("grant_type") {
            Some(grant) => Self(Cow::Owned(grant.to_owned())),
            None => Self::AUTHORIZE,
        }
    }
}

/// What one side did in a step.
pub(crate) struct Side<'a> {
    /// `cache` or `identity_provider`.
    pub(crate) token_source: Value,
    /// What the authority saw of it.
    pub(crate) log: &'a [LogEntry],
}

impl Report {
    /// Compares what both did in a step.
    pub(crate) fn compare(&mut self, step: &'static str, symbolon: &Side<'_>, msal: &Side<'_>) {
        self.steps.push(step);
        let mut note = |request, field: String, symbolon: Value, msal: Value| {
            if symbolon != msal {
                self.found.push(Found { step, request, field, symbolon, msal });
            }
        };
        note(None, "token source".to_owned(), symbolon.token_source.clone(), msal.token_source.clone());
        for (field, symbolon, msal) in both(look_ups(symbolon.log), look_ups(msal.log)) {
            note(None, field, symbolon, msal);
        }
        let (symbolon, msal) = (flow_requests(symbolon.log), flow_requests(msal.log));
        note(None, "requests".to_owned(), json!(symbolon.len()), json!(msal.len()));
        for (ours, theirs) in symbolon.into_iter().zip(msal) {
            let request = Some(self.requests.len());
            self.requests.push(Kind::of(theirs));
            for (field, symbolon, msal) in both(decode(ours), decode(theirs)) {
                note(request, field, symbolon, msal);
            }
        }
    }
}

/// Every field of either, with the value of each.
fn both(symbolon: Fields, mut msal: Fields) -> Vec<(String, Value, Value)> {
    let mut fields: Vec<_> = symbolon
        .into_iter()
        .map(|(field, value)| {
            let other = msal.remove(&field).unwrap_or_default();
            (field, value, other)
        })
        .collect();
    fields.extend(msal.into_iter().map(|(field, value)| (field, Value::Null, value)));
    fields
}

/// The requests of the flows themselves.
fn flow_requests(log: &[LogEntry]) -> Vec<&LogEntry> {
    log.iter().filter(|entry| is_of_flow(entry)).collect()
}

fn is_of_flow(entry: &LogEntry) -> bool {
    entry.path.ends_with("/token") || entry.path.ends_with("/authorize")
}

/// How often what else was asked for, as fields.
fn look_ups(log: &[LogEntry]) -> Fields {
    let mut fields = Fields::new();
    for entry in log.iter().filter(|entry| !is_of_flow(entry)) {
        let count =
            fields.entry(without_tenant(&format!("{} {}", entry.method, entry.path))).or_insert(json!(0));
        *count = json!(count.as_u64().unwrap_or_default() + 1);
    }
    fields
}

fn without_tenant(text: &str) -> String {
    text.replace(CONTOSO, "{tenant}")
}

fn decode(entry: &LogEntry) -> Fields {
    let mut fields = Fields::new();
    let mut put = |name: String, value: Value| {
        let repeated = fields.insert(name.clone(), value);
        assert_eq!(repeated, None, "{name} is there twice");
    };
    put("method".to_owned(), json!(entry.method));
    put("host".to_owned(), json!(entry.host));
    put("path".to_owned(), json!(entry.path));
    put("protocol".to_owned(), json!(entry.protocol));
    put("client certificate".to_owned(), json!(entry.client_certificate));
    put("status".to_owned(), json!(entry.status));
    for Field { name, value } in &entry.query {
        put(format!("query {name}"), parameter(name, value));
    }
    // A browser's request for a page has a browser's headers.
    let headers = entry.headers.iter().filter(|_| entry.path.ends_with("/token"));
    // The length is that of the body, which is compared itself.
    for Field { name, value } in headers.filter(|field| field.name != "content-length") {
        put(format!("header {name}"), header(name, value));
    }
    for Field { name, value } in &entry.form {
        match value {
            FieldValue::Token { header, payload } => {
                members(header).for_each(|(member, value)| {
                    put(format!("form {name} header {member}"), of_jwt_header(member, value));
                });
                members(payload).for_each(|(member, value)| {
                    put(format!("form {name} payload {member}"), of_jwt_payload(member, value));
                });
                put(format!("form {name} lifetime"), lifetime(payload));
            }
            value => put(format!("form {name}"), parameter(name, value)),
        }
    }
    fields
}

fn members(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    object.as_object().into_iter().flatten()
}

/// A parameter of a form or query: scopes are a set, claims are JSON.
fn parameter(name: &str, value: &FieldValue) -> Value {
    match (name, value) {
        ("scope", FieldValue::Text(scopes)) => {
            let mut scopes: Vec<_> = scopes.split(' ').collect();
            scopes.sort_unstable();
            json!(scopes)
        }
        ("claims", FieldValue::Text(claims)) => serde_json::from_str(claims).expect("claims are JSON"),
        (_, FieldValue::Redacted { characters }) => json!(format!("{characters} characters")),
        (_, value) => json!(value),
    }
}

/// A header: ids are of one form, the routing hint is read without regard to case.
fn header(name: &str, value: &FieldValue) -> Value {
    match (name, value) {
        ("client-request-id", FieldValue::Text(id)) => identifier(id),
        ("x-anchormailbox", FieldValue::Text(hint)) => json!(hint.to_lowercase()),
        (_, value) => json!(value),
    }
}

/// Thumbprints are compared as bytes, whatever they are written in.
fn of_jwt_header(member: &str, value: &Value) -> Value {
    match (member, value) {
        ("x5t" | "x5t#S256", Value::String(text)) => json!(bytes_of(text)),
        (_, value) => value.clone(),
    }
}

/// Times and ids differ from request to request; that they are there, and what they are, doesn't.
fn of_jwt_payload(member: &str, value: &Value) -> Value {
    match (member, value) {
        ("aud", Value::String(audience)) => json!(without_tenant(audience)),
        ("iat" | "nbf" | "exp", Value::Number(_)) => json!("a time"),
        ("iat" | "nbf" | "exp", Value::String(_)) => json!("a time in a string"),
        ("jti", Value::String(id)) => identifier(id),
        ("uti", Value::String(_)) => json!("an id of the authority's"),
        (_, value) => value.clone(),
    }
}

/// How long a token lives, in seconds.
fn lifetime(payload: &Value) -> Value {
    let time = |member: &str| payload.get(member).and_then(Value::as_f64);
    match (time("nbf").or_else(|| time("iat")), time("exp")) {
        (Some(begin), Some(end)) => json!((end - begin).round()),
        _ => Value::Null,
    }
}

fn identifier(text: &str) -> Value {
    if Uuid::parse_str(text).is_ok() { json!("a UUID") } else { json!(text) }
}

/// The bytes of a thumbprint in either alphabet of base64, padded or not.
fn bytes_of(text: &str) -> Vec<u8> {
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let text = text.replace('-', "+").replace('_', "/");
    GeneralPurpose::new(&alphabet::STANDARD, lenient).decode(text).expect("base64")
}
