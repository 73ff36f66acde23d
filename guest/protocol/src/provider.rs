//! OpenID Connect providers other than Microsoft's own: what their metadata says (OpenID Connect Discovery 1.0, RFC 8414).

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::authority::Authority;
use crate::cloud::known_cloud;
use crate::credential::Proof;
use crate::error::{Error, ErrorClass, ErrorKind};
use crate::json::{Object, Value};

/// What is used of a provider's metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Who it is; what client assertions are addressed to.
    pub issuer: String,
    /// Where tokens are asked for.
    pub token_endpoint: String,
    /// The same with a client certificate in the TLS handshake (RFC 8705 §5), where that is another place.
    pub mtls_token_endpoint: Option<String>,
    /// Where people sign in.
    pub authorization_endpoint: Option<String>,
    /// How clients may authenticate; `client_secret_basic` alone where it isn't said.
    pub auth_methods: Vec<String>,
    /// How client assertions may be signed; empty where it isn't said.
    pub auth_algorithms: Vec<String>,
    /// Whether the answer to a sign-in names the issuer (RFC 9207).
    pub names_issuer: bool,
}

impl Metadata {
    /// Reads the metadata of an authority.
    ///
    /// # Errors
    ///
    /// `oidc_failure` where it is no JSON object or names no token endpoint, `authority_validation_failed` where it is
    /// another's.
    pub fn parse(document: &[u8], authority: &Authority) -> Result<Metadata, Error> {
        let url = authority.canonical();
        let members = Object::parse(document).ok_or_else(|| unusable(&url, "isn't a JSON object"))?;
        let issuer = members.text("issuer").unwrap_or_default();
        if !is_issuer_of(authority, &issuer) {
            let message = format!("The metadata of {url} is of another issuer, {issuer:?}.");
            return Err(service("authority_validation_failed", message));
        }
        let endpoint = |name| members.text(name).filter(|url| url.starts_with("https://"));
        let texts = |name| {
            let items = members.get(name).map(Value::items).unwrap_or_default();
            items.into_iter().filter_map(Value::text).collect::<Vec<_>>()
        };
        let aliases = members.get("mtls_endpoint_aliases").and_then(Value::object);
        let mut auth_methods = texts("token_endpoint_auth_methods_supported");
        if auth_methods.is_empty() {
            auth_methods.push(CLIENT_SECRET_BASIC.to_string());
        }
        Ok(Metadata {
            token_endpoint: endpoint("token_endpoint")
                .ok_or_else(|| unusable(&url, "names no token endpoint by https"))?,
            mtls_token_endpoint: aliases
                .and_then(|aliases| aliases.text("token_endpoint"))
                .filter(|url| url.starts_with("https://")),
            authorization_endpoint: endpoint("authorization_endpoint"),
            auth_methods,
            auth_algorithms: texts("token_endpoint_auth_signing_alg_values_supported"),
            names_issuer: members
                .get("authorization_response_iss_parameter_supported")
                .is_some_and(|value| value.0 == "true"),
            issuer,
        })
    }

    /// Where tokens are asked for, by mutual TLS or without.
    pub fn token_endpoint(&self, mtls: bool) -> &str {
        self.mtls_token_endpoint.as_ref().filter(|_| mtls).unwrap_or(&self.token_endpoint)
    }
}

/// Checks the configured way to authenticate (RFC 7591 §2) against the one that the credential has here: a secret in the
/// body, or an assertion.
///
/// # Errors
///
/// `token_endpoint_auth_method_not_supported` for any other.
pub fn require_method(configured: Option<&str>, proof: Proof) -> Result<(), Error> {
    let own = match proof {
        Proof::Secret => "client_secret_post",
        Proof::CertificateAssertion { .. } | Proof::SignedAssertion => "private_key_jwt",
        Proof::Handshake => "tls_client_auth",
    };
    match configured.filter(|method| *method != own) {
        None => Ok(()),
        Some(method) => Err(Error::new(
            ErrorKind::CredentialUnsupported,
            "token_endpoint_auth_method_not_supported",
            format!("The client can't authenticate by {method}; with this credential it does so by {own}."),
        )),
    }
}

/// Whether metadata of this issuer may stand for the authority, as MSAL decides it: one of the same scheme and host, one of
/// Microsoft's hosts or of their regions, or that of the customer directory.
pub fn is_issuer_of(authority: &Authority, issuer: &str) -> bool {
    let Ok(named) = Authority::oidc(issuer) else { return false };
    let (host, _) = named.host_and_port();
    let is_microsofts = |host: &str| known_cloud(host).is_some();
    named.host() == authority.host()
        || is_microsofts(host)
        || host.split_once('.').is_some_and(|(region, rest)| !region.is_empty() && is_microsofts(rest))
        || is_customer_directory(authority, issuer)
}

/// `https://{tenant}.ciamlogin.com`, alone, with `/{tenant}`, or with `/{tenant}/v2.0` behind it.
fn is_customer_directory(authority: &Authority, issuer: &str) -> bool {
    let tenant = authority.first_segment().or_else(|| authority.host().split('.').next()).unwrap_or_default();
    let base = format!("https://{tenant}.ciamlogin.com");
    let rest = issuer.trim_end_matches('/').strip_prefix(&base);
    rest.is_some_and(|rest| {
        rest.is_empty() || rest == format!("/{tenant}") || rest == format!("/{tenant}/v2.0")
    })
}

fn unusable(url: &str, what: &str) -> Error {
    service("oidc_failure", format!("The metadata of {url} {what}."))
}

fn service(code: &str, message: String) -> Error {
    Error { class: ErrorClass::Service, ..Error::new(ErrorKind::ProtocolViolation, code, message) }
}

/// The secret in the `authorization` header (RFC 6749 §2.3.1).
pub const CLIENT_SECRET_BASIC: &str = "client_secret_basic";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_way_that_the_credential_has_is_accepted() {
        assert!(require_method(None, Proof::Secret).is_ok());
        assert!(require_method(Some("client_secret_post"), Proof::Secret).is_ok());
        let error = require_method(Some("tls_client_auth"), Proof::Secret).unwrap_err();
        assert_eq!(error.code, "token_endpoint_auth_method_not_supported");
    }

    #[test]
    fn the_metadata_of_another_issuer_is_refused() {
        let authority = Authority::oidc("https://idp.test/a").expect("an authority");
        let document =
            |issuer| format!(r#"{{"issuer":"{issuer}","token_endpoint":"https://idp.test/token"}}"#);
        assert!(Metadata::parse(document("https://idp.test/b").as_bytes(), &authority).is_ok());
        for (issuer, code) in
            [("https://evil.test/a", "authority_validation_failed"), ("", "authority_validation_failed")]
        {
            let error = Metadata::parse(document(issuer).as_bytes(), &authority).unwrap_err();
            assert_eq!(error.code, code);
        }
        assert_eq!(Metadata::parse(b"<html>", &authority).unwrap_err().code, "oidc_failure");
    }

    proptest! {
        #[test]
        fn any_document_is_metadata_or_an_error(document: Vec<u8>, issuer in "\\PC*") {
            let authority = Authority::oidc("https://idp.test/a").expect("an authority");
            let _ = (Metadata::parse(&document, &authority), is_issuer_of(&authority, &issuer));
        }
    }
}
