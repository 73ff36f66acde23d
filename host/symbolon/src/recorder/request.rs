//! A request, as it may be shown.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, Uri};
use url::form_urlencoded;

/// A request without what may be a secret, a token or a person's name: of headers, parameters and fields of a form all names
/// are there, and the values of those that hold nothing of the kind.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecordedRequest {
    /// Which request of the acquisition it is, from 1 on.
    pub attempt: u32,
    /// What is done.
    pub method: Method,
    /// `https`, or `http` to the platform's own endpoints.
    pub scheme: String,
    /// The host that is asked, with its port when it isn't the scheme's own.
    pub authority: String,
    /// The path, without the query. That of a token endpoint ends in `/token`.
    pub path: String,
    /// The parameters of the query.
    pub query: Vec<(String, RecordedValue)>,
    /// The headers.
    pub headers: Vec<(String, RecordedValue)>,
    /// The fields of a form.
    pub form: Vec<(String, RecordedValue)>,
    /// How many bytes the body has before a secret is put into it; nothing where that isn't known.
    pub body_bytes: Option<usize>,
    /// The `x5t#S256` of the certificate that is presented in the TLS handshake.
    pub certificate: Option<String>,
    /// The place that a secret is put into on the way out, such as ``form field `client_secret` ``.
    pub secret: Option<String>,
}

/// A value, where it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordedValue {
    /// It holds no secret.
    Shown(String),
    /// It may hold one.
    Redacted {
        /// How long it is, in bytes.
        bytes: usize,
    },
}

impl RecordedValue {
    fn new(shown: bool, value: &str) -> Self {
        match shown && !looks_like_token(value) {
            true => Self::Shown(value.to_owned()),
            false => Self::Redacted { bytes: value.len() },
        }
    }
}

impl std::fmt::Display for RecordedValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Shown(value) => f.write_str(value),
            Self::Redacted { bytes } => write!(f, "[redacted: {bytes} bytes]"),
        }
    }
}

impl RecordedRequest {
    pub(crate) fn new(
        attempt: u32,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: Option<&[u8]>,
    ) -> Self {
        let form = body.filter(|_| is_form(headers)).unwrap_or_default();
        Self {
            attempt,
            method: method.clone(),
            scheme: uri.scheme_str().unwrap_or_default().to_owned(),
            authority: uri.authority().map(|authority| authority.as_str()).unwrap_or_default().to_owned(),
            path: path(uri.path()),
            query: fields(uri.query().unwrap_or_default().as_bytes()),
            headers: headers.iter().map(|(name, value)| header(name.as_str(), value.as_bytes())).collect(),
            form: fields(form),
            body_bytes: body.map(<[u8]>::len),
            certificate: None,
            secret: None,
        }
    }
}

/// The path, without segments that look like a token.
fn path(path: &str) -> String {
    let segments =
        path.split('/').map(|segment| if looks_like_token(segment) { "[redacted]" } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

fn fields(encoded: &[u8]) -> Vec<(String, RecordedValue)> {
    let fields = form_urlencoded::parse(encoded);
    fields.map(|(name, value)| (name.to_string(), RecordedValue::new(is_public(&name), &value))).collect()
}

fn header(name: &str, value: &[u8]) -> (String, RecordedValue) {
    let value = String::from_utf8_lossy(value);
    (name.to_owned(), RecordedValue::new(HEADERS.contains(&name), &value))
}

fn is_form(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    content_type.starts_with("application/x-www-form-urlencoded")
}

/// Whether a parameter of this name holds no secret. Those that the list doesn't know may.
fn is_public(name: &str) -> bool {
    PARAMETERS.contains(&name) || name.ends_with("_type")
}

/// Nobody means to send a token here; if somebody does, it isn't shown. What begins like this is a JSON object in base64url.
fn looks_like_token(value: &str) -> bool {
    value.contains("eyJ")
}

/// Parameters of requests to authorities and to platforms, beside those that say what type something is of.
const PARAMETERS: [&str; 14] = [
    "api-version",
    "bypass_cache",
    "claims",
    "client_id",
    "client_info",
    "fmi_path",
    "mi_res_id",
    "object_id",
    "principal_id",
    "redirect_uri",
    "req_cnf",
    "requested_token_use",
    "resource",
    "scope",
];

/// Headers, in lower case.
const HEADERS: [&str; 16] = [
    "accept",
    "client-request-id",
    "content-type",
    "host",
    "metadata",
    "return-client-request-id",
    "traceparent",
    "user-agent",
    "x-app-name",
    "x-app-ver",
    "x-client-cpu",
    "x-client-current-telemetry",
    "x-client-os",
    "x-client-sku",
    "x-client-ver",
    "x-ms-lib-capability",
];

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn form(body: &str) -> RecordedRequest {
        let content_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, content_type)]);
        headers.insert("x-secret", HeaderValue::from_static("canary"));
        let uri = Uri::from_static("https://login.contoso.test/t/token?slice=canary&api-version=1");
        RecordedRequest::new(1, &Method::POST, &uri, &headers, Some(body.as_bytes()))
    }

    fn shown(value: &str) -> RecordedValue {
        RecordedValue::Shown(value.to_owned())
    }

    #[test]
    fn values_that_may_be_secret_are_not_there() {
        let request = form("scope=a%20b&password=canary&assertion=canary&unheard_of=canary&username=canary");
        assert!(!format!("{request:?}").contains("canary"), "{request:?}");
        assert_eq!(request.form[0], ("scope".to_owned(), shown("a b")));
        assert_eq!(request.form[1], ("password".to_owned(), RecordedValue::Redacted { bytes: 6 }));
        assert_eq!(request.query[1], ("api-version".to_owned(), shown("1")));
        assert!(
            request
                .headers
                .contains(&("content-type".to_owned(), shown("application/x-www-form-urlencoded")))
        );
    }

    #[test]
    fn a_token_where_none_belongs_is_not_there_either() {
        let request = form("scope=eyJhbGciOiJSUzI1NiJ9.e30.c2ln&kind_type=x");
        assert_eq!(request.form[0].1, RecordedValue::Redacted { bytes: 29 });
        assert_eq!(request.form[1].1, shown("x"));
    }

    #[test]
    fn a_token_in_a_path_is_not_there() {
        let uri = Uri::from_static("https://login.contoso.test/t/eyJhbGciOiJSUzI1NiJ9.e30.c2ln/token");
        let request = RecordedRequest::new(1, &Method::GET, &uri, &HeaderMap::new(), None);
        assert_eq!(request.path, "/t/[redacted]/token");
    }

    #[test]
    fn a_body_that_is_no_form_is_not_taken_for_one() {
        let uri = Uri::from_static("https://api.contoso.test/");
        let request = RecordedRequest::new(1, &Method::POST, &uri, &HeaderMap::new(), Some(b"scope=canary"));
        assert_eq!((request.form.len(), request.body_bytes), (0, Some(12)));
    }
}
