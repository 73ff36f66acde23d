//! A token request, taken apart.

use std::fmt;

use http::{HeaderMap, header};
use url::form_urlencoded;

use crate::{
    Certificate,
    encoding::from_base64,
    hosts::{Cloud, Service},
    refusal::{self, Refusal},
};

/// Form fields in the order they came. `Debug` shows names only.
#[derive(Clone, Default)]
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads `application/x-www-form-urlencoded`.
    pub(crate) fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Self, Refusal> {
        let media_type =
            headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(refusal::REQUEST_MALFORMED
                .because(format!("Invalid request. The content type '{essence}' is not a form.")));
        }
        Ok(Self::of_body(body))
    }

    /// Reads a body that is known to be a form.
    pub(crate) fn of_body(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).into_owned().collect())
    }

    /// Reads the query of a URL.
    pub(crate) fn of_query(query: &str) -> Self {
        Self::of_body(query.as_bytes())
    }

    /// The value of a field; an empty one counts as missing.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(field, value)| *field == name && !value.is_empty()).map(|(_, value)| value)
    }

    pub(crate) fn require(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name).ok_or_else(|| {
            refusal::PARAMETER_MISSING
                .because(format!("The request body must contain the following parameter: '{name}'."))
        })
    }

    pub(crate) fn repeated(&self) -> Option<&str> {
        let twice = |(at, (name, _)): &(usize, &(String, String))| {
            self.0.iter().take(*at).any(|(other, _)| other == name)
        };
        self.0.iter().enumerate().find(twice).map(|(_, (name, _))| name.as_str())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

/// What the token endpoint decides on.
pub(crate) struct TokenRequest<'a> {
    pub(crate) service: Service,
    pub(crate) cloud: &'a Cloud,
    /// The URL as the client called it, without query.
    pub(crate) endpoint: String,
    /// The tenant as the path names it.
    pub(crate) tenant: &'a str,
    pub(crate) form: &'a Form,
    /// Client id and secret of an `Authorization: Basic` header.
    pub(crate) basic: Option<(String, String)>,
    /// Whether there is an `Origin` header: a page in a browser calls from another origin.
    pub(crate) has_origin: bool,
    /// The client's chain from the handshake, leaf first; empty when it sent none.
    pub(crate) handshake: &'a [Certificate],
}

impl TokenRequest<'_> {
    pub(crate) fn wants_bound_token(&self) -> bool {
        self.form.get("token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("mtls_pop"))
    }
}

/// Client id and secret of an `Authorization: Basic` header (RFC 6749 section 2.3.1).
pub(crate) fn basic_credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(from_base64(encoded.trim())?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some((form_decoded(id), form_decoded(secret)))
}

fn form_decoded(text: &str) -> String {
    // Names a field so that the value is decoded by the rules of a form; `&` and `=` are escaped by the client.
    let field = format!("v={text}");
    form_urlencoded::parse(field.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(body: &str) -> Form {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONTENT_TYPE,
            "application/x-www-form-urlencoded; charset=utf-8".parse().unwrap(),
        );
        Form::parse(&headers, body.as_bytes()).unwrap()
    }

    #[test]
    fn fields_keep_their_order_and_are_decoded() {
        let form = form("b=1&a=s3cr3t%26%2B+%2F%3D%C3%A9&c=");
        assert_eq!(form.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["b", "a", "c"]);
        assert_eq!(form.get("a"), Some("s3cr3t&+ /=é"));
        assert_eq!(form.get("c"), None);
        assert_eq!(format!("{form:?}"), r#"["b", "a", "c"]"#);
    }

    #[test]
    fn repeated_fields_are_found() {
        assert_eq!(form("a=1&b=2&a=3").repeated(), Some("a"));
        assert_eq!(form("a=1&b=2").repeated(), None);
    }

    #[test]
    fn basic_authorization() {
        let mut headers = HeaderMap::new();
        let encoded = crate::encoding::base64(b"id%2F1:s3cr3t%26%2B+%2F%3D");
        headers.insert(header::AUTHORIZATION, format!("Basic {encoded}").parse().unwrap());
        assert_eq!(basic_credentials(&headers), Some(("id/1".into(), "s3cr3t&+ /=".into())));
    }
}
