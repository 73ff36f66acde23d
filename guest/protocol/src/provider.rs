//! OpenID Connect providers other than Microsoft's own: what their metadata says (OpenID Connect Discovery 1.0, RFC 8414).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::assertion;
use crate::authority::{Authority, SignatureAlgorithm};
use crate::cloud::known_cloud;
use crate::credential::{Authentication, BoundUse, Description, Proof};
use crate::error::{Error, ErrorClass, ErrorKind};
use crate::identity::unverified_claims;
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
    /// How clients may authenticate; empty where it isn't said.
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
        Ok(Metadata {
            token_endpoint: endpoint("token_endpoint")
                .ok_or_else(|| unusable(&url, "names no token endpoint by https"))?,
            mtls_token_endpoint: aliases
                .and_then(|aliases| aliases.text("token_endpoint"))
                .filter(|url| url.starts_with("https://")),
            authorization_endpoint: endpoint("authorization_endpoint"),
            auth_methods: texts("token_endpoint_auth_methods_supported"),
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

    /// How client assertions may be signed, the best first; where it isn't said, first as every provider can
    /// (OpenID Connect Core 1.0 §15.1).
    pub fn algorithms(&self) -> Vec<SignatureAlgorithm> {
        use SignatureAlgorithm::{Es256, Ps256, Rs256};
        if self.auth_algorithms.is_empty() {
            return [Rs256, Ps256, Es256].into();
        }
        let is_listed = |algorithm: &SignatureAlgorithm| {
            self.auth_algorithms.iter().any(|listed| listed == algorithm.name())
        };
        [Ps256, Rs256, Es256].into_iter().filter(is_listed).collect()
    }

    /// How the client authenticates here, in the words of RFC 7591 §2 and RFC 8705 §2: as it is configured, else in the
    /// first way that both the provider and the credential have. `chosen` is how the client would authenticate elsewhere;
    /// `chain` says whether assertions carry the certificate.
    ///
    /// # Errors
    ///
    /// `token_endpoint_auth_method_not_supported` where there is none.
    pub fn authentication(
        &self,
        configured: Option<&str>,
        chosen: Authentication,
        credential: Option<&Description>,
        chain: bool,
    ) -> Result<Authentication, Error> {
        let handshake = Authentication { proof: Proof::Handshake, mtls: true };
        let assertion = Authentication { proof: Proof::CertificateAssertion { chain }, ..chosen };
        let basic = Authentication { proof: Proof::BasicSecret, ..chosen };
        let by_assertion = (PRIVATE_KEY_JWT, assertion);
        let by_handshake = [(TLS_CLIENT_AUTH, handshake), (SELF_SIGNED_TLS_CLIENT_AUTH, handshake)];
        let is_presented = credential.is_none_or(|credential| credential.use_bound != BoundUse::Never);
        let mut ways = Vec::with_capacity(3);
        match chosen.proof {
            Proof::Secret | Proof::BasicSecret => {
                ways.extend([(CLIENT_SECRET_POST, chosen), (CLIENT_SECRET_BASIC, basic)]);
            }
            Proof::SignedAssertion => ways.push((PRIVATE_KEY_JWT, chosen)),
            Proof::CertificateAssertion { .. } if !is_presented => ways.push(by_assertion),
            Proof::CertificateAssertion { .. } => {
                ways.push(by_assertion);
                ways.extend(by_handshake);
            }
            Proof::Handshake => {
                ways.extend(by_handshake);
                ways.push(by_assertion);
            }
        }
        let certificate = credential.and_then(|credential| credential.certificate.as_ref());
        let can_sign = chosen.proof == Proof::SignedAssertion
            || certificate.is_some_and(|it| assertion::common_algorithm(&self.algorithms(), it).is_some());
        let serves = |method: &str| match configured {
            Some(configured) => method == configured,
            None => self.takes(method) && (method != PRIVATE_KEY_JWT || can_sign),
        };
        let own = || ways.iter().map(|(method, _)| *method).collect::<Vec<_>>().join(", ");
        ways.iter().find(|(method, _)| serves(method)).map(|(_, way)| *way).ok_or_else(|| {
            let taken = match configured {
                Some(configured) => format!("is configured to authenticate by {configured}"),
                None => format!("may authenticate to {} by {}", self.issuer, self.auth_methods.join(", ")),
            };
            let message = format!("The client {taken}; with this credential it can by {}.", own());
            Error::new(ErrorKind::CredentialUnsupported, "token_endpoint_auth_method_not_supported", message)
        })
    }

    /// Whether the provider takes it. Where it doesn't say: secrets as RFC 8414 §2 has it, and assertions.
    fn takes(&self, method: &str) -> bool {
        match self.auth_methods.is_empty() {
            true => matches!(method, CLIENT_SECRET_BASIC | PRIVATE_KEY_JWT),
            false => self.auth_methods.iter().any(|taken| taken == method),
        }
    }

    /// Checks that an answer to a sign-in came from this provider (RFC 9207 §2.4). `issuer` is its `iss`.
    ///
    /// # Errors
    ///
    /// `issuer_mismatch` for another's, and `issuer_missing` where the provider names itself and the answer doesn't.
    pub fn check_issuer(&self, issuer: Option<&str>) -> Result<(), Error> {
        let (code, found) = match issuer {
            Some(issuer) if issuer == self.issuer => return Ok(()),
            None if !self.names_issuer => return Ok(()),
            Some(issuer) => ("issuer_mismatch", format!("{issuer:?}")),
            None => ("issuer_missing", String::from("none")),
        };
        let message = format!(
            "The answer to the sign-in must come from {}, and the issuer (iss) that is given with the code is {found}; \
             the code was sent nowhere.",
            self.issuer
        );
        Err(Error::new(ErrorKind::ProtocolViolation, code, message))
    }
}

/// Checks that a token is bound to the certificate, given by its `x5t#S256` (RFC 8705 §3.1), where it says to which it is
/// bound. A token that is no JSON Web Token says nothing. `must` it be bound, a JSON Web Token must say so.
///
/// # Errors
///
/// `token_binding_mismatch` for one that is bound to another certificate, or to none.
pub fn check_binding(token: &str, certificate: Option<&str>, must: bool) -> Result<(), Error> {
    let Some(claims) = unverified_claims(token) else { return Ok(()) };
    let Some(claims) = Object::parse(&claims) else { return Ok(()) };
    let bound_to = claims.get("cnf").and_then(Value::object).and_then(|cnf| cnf.text("x5t#S256"));
    match (bound_to.as_deref(), certificate) {
        (None, _) if !must => Ok(()),
        (Some(bound_to), Some(certificate)) if bound_to == certificate => Ok(()),
        (bound_to, certificate) => Err(Error::new(
            ErrorKind::ProtocolViolation,
            "token_binding_mismatch",
            format!(
                "The token is bound to the certificate {} and must be to {} (x5t#S256).",
                bound_to.unwrap_or("of nobody"),
                certificate.unwrap_or("none")
            ),
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

const CLIENT_SECRET_BASIC: &str = "client_secret_basic";

const CLIENT_SECRET_POST: &str = "client_secret_post";

const PRIVATE_KEY_JWT: &str = "private_key_jwt";

const TLS_CLIENT_AUTH: &str = "tls_client_auth";

/// The same for a certificate that nobody issued. What is sent is the same.
const SELF_SIGNED_TLS_CLIENT_AUTH: &str = "self_signed_tls_client_auth";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::{Certificate, CredentialKind};
    use alloc::vec;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    fn certificate(use_bound: BoundUse, algorithms: &[SignatureAlgorithm]) -> Description {
        let certificate = Certificate {
            chain: vec![vec![0x30]],
            thumbprint_sha256: "t".into(),
            thumbprint_sha1: "s".into(),
            key_id: None,
            not_after: 0,
            algorithms: algorithms.into(),
        };
        Description {
            name: "c".into(),
            kind: CredentialKind::Certificate,
            use_bound,
            omit_assertion_when_bound: false,
            certificate: Some(certificate),
        }
    }

    /// How a client with a certificate authenticates where these methods are taken; a code where it can't.
    fn by_certificate(
        methods: &[&str],
        configured: Option<&str>,
        credential: &Description,
        is_bound: bool,
    ) -> Result<(Proof, bool), String> {
        let auth_methods = methods.iter().map(|method| String::from(*method)).collect();
        let metadata = Metadata { auth_methods, ..Metadata::default() };
        let proof = match is_bound {
            true => Proof::Handshake,
            false => Proof::CertificateAssertion { chain: true },
        };
        let chosen = Authentication { proof, mtls: is_bound };
        let way = metadata.authentication(configured, chosen, Some(credential), false);
        way.map(|way| (way.proof, way.mtls)).map_err(|error| error.code)
    }

    #[test]
    fn a_secret_goes_where_the_provider_takes_it() {
        let secret = Authentication { proof: Proof::Secret, mtls: false };
        let proof = |methods: &[&str], configured| {
            let auth_methods = methods.iter().map(|method| String::from(*method)).collect();
            let metadata = Metadata { auth_methods, ..Metadata::default() };
            metadata.authentication(configured, secret, None, false).map(|way| way.proof).ok()
        };
        assert_eq!(proof(&[], None), Some(Proof::BasicSecret), "RFC 8414 §2");
        assert_eq!(proof(&["client_secret_basic"], None), Some(Proof::BasicSecret));
        assert_eq!(proof(&["client_secret_basic", "client_secret_post"], None), Some(Proof::Secret));
        assert_eq!(proof(&["private_key_jwt"], None), None);
        assert_eq!(proof(&["private_key_jwt"], Some("client_secret_basic")), Some(Proof::BasicSecret));
        assert_eq!(proof(&["client_secret_post"], Some("tls_client_auth")), None);
    }

    #[test]
    fn a_certificate_signs_or_is_presented_as_the_provider_takes_it() {
        use SignatureAlgorithm::Rs256;
        let rsa = certificate(BoundUse::Unspecified, &[Rs256]);
        let assertion = Proof::CertificateAssertion { chain: false };
        let both = ["tls_client_auth", "private_key_jwt"];
        assert_eq!(by_certificate(&both, None, &rsa, false), Ok((assertion, false)));
        assert_eq!(by_certificate(&both, None, &rsa, true), Ok((Proof::Handshake, true)));
        assert_eq!(by_certificate(&[], None, &rsa, false), Ok((assertion, false)));
        let self_signed = ["self_signed_tls_client_auth"];
        assert_eq!(by_certificate(&self_signed, None, &rsa, false), Ok((Proof::Handshake, true)));
        assert_eq!(by_certificate(&both, Some("tls_client_auth"), &rsa, false), Ok((Proof::Handshake, true)));
        assert_eq!(by_certificate(&["private_key_jwt"], None, &rsa, true), Ok((assertion, true)));

        let silent = certificate(BoundUse::Unspecified, &[]);
        assert_eq!(by_certificate(&both, None, &silent, false), Ok((Proof::Handshake, true)));
        let refused = Err("token_endpoint_auth_method_not_supported".into());
        let never = certificate(BoundUse::Never, &[Rs256]);
        assert_eq!(by_certificate(&self_signed, None, &never, false), refused);
        assert_eq!(by_certificate(&["client_secret_post"], None, &rsa, false), refused);
    }

    #[test]
    fn assertions_are_signed_as_the_provider_says() {
        use SignatureAlgorithm::{Es256, Ps256, Rs256};
        let algorithms = |listed: &[&str]| {
            let auth_algorithms = listed.iter().map(|name| String::from(*name)).collect();
            Metadata { auth_algorithms, ..Metadata::default() }.algorithms()
        };
        assert_eq!(algorithms(&[]), [Rs256, Ps256, Es256]);
        assert_eq!(algorithms(&["HS256", "ES256", "RS256", "PS256"]), [Ps256, Rs256, Es256]);
        assert_eq!(algorithms(&["ES256", "EdDSA"]), [Es256]);
    }

    #[test]
    fn the_answer_to_a_sign_in_names_its_issuer() {
        let metadata = |names_issuer| Metadata {
            issuer: "https://idp.test/a".into(),
            names_issuer,
            ..Metadata::default()
        };
        let code = |names, issuer| metadata(names).check_issuer(issuer).map_err(|error| error.code).err();
        assert_eq!(code(true, Some("https://idp.test/a")), None);
        assert_eq!(code(false, None), None);
        assert_eq!(code(true, None).as_deref(), Some("issuer_missing"));
        for other in ["https://evil.test/a", "https://idp.test/a/", "https://IDP.test/a", ""] {
            for names in [false, true] {
                assert_eq!(code(names, Some(other)).as_deref(), Some("issuer_mismatch"), "{other}");
            }
        }
    }

    #[test]
    fn a_token_is_bound_to_our_certificate_or_to_none() {
        let token = |claims: &str| format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims));
        let bound = token(r#"{"cnf":{"x5t#S256":"ours"}}"#);
        for must in [false, true] {
            assert!(check_binding(&bound, Some("ours"), must).is_ok());
            assert!(check_binding("opaque", Some("ours"), must).is_ok());
            for (token, certificate) in [(&bound, Some("other")), (&bound, None)] {
                let error = check_binding(token, certificate, must).unwrap_err();
                assert_eq!(error.code, "token_binding_mismatch");
            }
        }
        for unbound in [token("{}"), token(r#"{"cnf":{"jkt":"ours"}}"#)] {
            assert!(check_binding(&unbound, Some("ours"), false).is_ok());
            assert!(check_binding(&unbound, Some("ours"), true).is_err());
        }
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
            let _ = check_binding(&issuer, None, true);
        }
    }
}
