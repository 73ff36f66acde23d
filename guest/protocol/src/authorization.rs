//! The beginning of a sign-in: the URL that a browser is sent to for an authorization code (RFC 6749 §4.1.1), with PKCE
//! (RFC 7636).

use alloc::string::String;
use core::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::form::Form;
use crate::random::{self, Purpose};
use crate::scopes::Scopes;

/// What a sign-in is for. A text that is absent or blank asks for nothing.
#[derive(Clone, Copy)]
pub struct AuthorizationParameters<'a> {
    /// The application (client) id.
    pub client_id: &'a str,
    /// Where the code goes; registered with the authority.
    pub redirect_uri: &'a str,
    /// What the token shall be for. The reserved scopes are added.
    pub scopes: &'a Scopes,
    /// Ask for a refresh token (`offline_access`).
    pub offline_access: bool,
    /// Whom to suggest.
    pub login_hint: Option<&'a str>,
    /// Which directory's sign-in page to go to at once.
    pub domain_hint: Option<&'a str>,
    /// `login`, `select_account`, `consent`, `none`.
    pub prompt: Option<&'a str>,
    /// The `claims` parameter, JSON: capabilities and the claims of a challenge.
    pub claims: Option<&'a str>,
    /// Further parameters, such as `response_mode`.
    pub extra_query: &'a [(String, String)],
    /// A GUID that goes to the authority as `client-request-id`.
    pub correlation_id: &'a str,
}

/// The beginning of a sign-in. Everything but the URL stays with the application, for the end of it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuthorizationRequest {
    /// Where the browser goes.
    pub url: String,
    /// What the code is redeemed with: `code_verifier` of the token request.
    pub code_verifier: String,
    /// What the redirect must bring back as `state`.
    pub state: String,
    /// What the id token must hold as `nonce`.
    pub nonce: String,
}

impl fmt::Debug for AuthorizationRequest {
    /// Shows the endpoint only: who knows the rest can pass another sign-in off as this one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = self.url.split('?').next().unwrap_or_default();
        f.debug_struct("AuthorizationRequest").field("endpoint", &endpoint).finish_non_exhaustive()
    }
}

/// Begins a sign-in at an authorization endpoint. Verifier, state and nonce are drawn from the seed.
///
/// # Errors
///
/// `no_redirect_uri` where that is blank; `duplicate_query_parameter` for a further parameter that is set already.
pub fn request(
    endpoint: &str,
    parameters: &AuthorizationParameters<'_>,
    seed: &[u64; 4],
) -> Result<AuthorizationRequest, Error> {
    if parameters.redirect_uri.trim().is_empty() {
        return Err(Error::invalid_request(
            "no_redirect_uri",
            "A sign-in needs a redirect URI, one that is registered with the authority.",
        ));
    }
    // 96 bytes are the 128 characters that a verifier may have at most.
    let code_verifier = URL_SAFE_NO_PAD.encode(random::bytes::<96>(seed, Purpose::CodeVerifier));
    let state = URL_SAFE_NO_PAD.encode(random::bytes::<32>(seed, Purpose::State));
    let nonce = URL_SAFE_NO_PAD.encode(random::bytes::<32>(seed, Purpose::Nonce));
    let mut query = Form::new();
    query.set("scope", &parameters.scopes.with_reserved_sorted_but(parameters.offline_access));
    query.set("response_type", "code");
    query.set("client_id", parameters.client_id);
    query.set("redirect_uri", parameters.redirect_uri);
    query.set_some("claims", parameters.claims);
    query.set_some("login_hint", parameters.login_hint);
    query.set_some("domain_hint", parameters.domain_hint);
    query.set("client-request-id", parameters.correlation_id);
    query.set_some("prompt", parameters.prompt);
    query.set("code_challenge", &code_challenge(&code_verifier));
    query.set("code_challenge_method", "S256");
    query.set("state", &state);
    query.set("nonce", &nonce);
    set_extra(&mut query, parameters.extra_query)?;
    // The endpoint of an OpenID Connect provider may have a query of its own (RFC 6749 §3.1).
    let separator = if endpoint.contains('?') { "&" } else { "?" };
    let url = [endpoint, separator, &query.encode()].concat();
    Ok(AuthorizationRequest { url, code_verifier, state, nonce })
}

/// The challenge of a verifier, by the method `S256` (RFC 7636 §4.2).
pub fn code_challenge(code_verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(code_verifier))
}

fn set_extra(query: &mut Form, extra: &[(String, String)]) -> Result<(), Error> {
    for (name, value) in extra {
        if query.names().any(|set| set.eq_ignore_ascii_case(name)) {
            return Err(Error::invalid_request(
                "duplicate_query_parameter",
                alloc::format!("The extra query parameter {name:?} is set already; leave it out."),
            ));
        }
        query.set(name, value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::string::ToString;
    use alloc::vec::Vec;
    use alloc::{format, vec};
    use proptest::prelude::*;

    const ENDPOINT: &str = "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/authorize";
    const SEED: [u64; 4] = [1, 2, 3, 4];

    fn parameters(scopes: &Scopes) -> AuthorizationParameters<'_> {
        AuthorizationParameters {
            client_id: "6731de76-14a6-49ae-97bc-6eba6914391e",
            redirect_uri: "https://localhost:5001/signin-oidc",
            scopes,
            offline_access: true,
            login_hint: None,
            domain_hint: None,
            prompt: None,
            claims: None,
            extra_query: &[],
            correlation_id: "1b4e28ba-2fa1-41d2-883f-0016d3cca427",
        }
    }

    fn begin(parameters: &AuthorizationParameters<'_>) -> AuthorizationRequest {
        request(ENDPOINT, parameters, &SEED).expect("a sign-in")
    }

    #[test]
    fn the_challenge_is_that_of_rfc_7636_appendix_b() {
        assert_eq!(
            code_challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }

    #[test]
    fn the_url_asks_for_a_code() {
        let scopes = Scopes::new(["User.Read"]);
        let request = begin(&parameters(&scopes));
        assert_eq!(
            request.url,
            format!(
                "{ENDPOINT}?scope=offline_access%20openid%20profile%20User.Read&response_type=code\
                 &client_id=6731de76-14a6-49ae-97bc-6eba6914391e\
                 &redirect_uri=https%3A%2F%2Flocalhost%3A5001%2Fsignin-oidc\
                 &client-request-id=1b4e28ba-2fa1-41d2-883f-0016d3cca427\
                 &code_challenge={}&code_challenge_method=S256&state={}&nonce={}",
                code_challenge(&request.code_verifier),
                request.state,
                request.nonce
            )
        );
    }

    #[test]
    fn what_is_asked_beside_has_its_place() {
        let scopes = Scopes::new(["a"]);
        let extra = [("response_mode".to_string(), "form post".to_string())];
        let request = begin(&AuthorizationParameters {
            offline_access: false,
            login_hint: Some("user@contoso.com"),
            domain_hint: Some("organizations"),
            prompt: Some("select_account"),
            claims: Some(r#"{"id_token":{}}"#),
            extra_query: &extra,
            ..parameters(&scopes)
        });
        let query = request.url.split_once('?').expect("a query").1;
        let pairs: Vec<_> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let names: Vec<_> = pairs.iter().map(|(name, _)| *name).collect();
        assert_eq!(
            names,
            [
                "scope",
                "response_type",
                "client_id",
                "redirect_uri",
                "claims",
                "login_hint",
                "domain_hint",
                "client-request-id",
                "prompt",
                "code_challenge",
                "code_challenge_method",
                "state",
                "nonce",
                "response_mode"
            ]
        );
        let values: BTreeMap<_, _> = pairs.into_iter().collect();
        assert_eq!(values["scope"], "a%20openid%20profile");
        assert_eq!(values["claims"], "%7B%22id_token%22%3A%7B%7D%7D");
        assert_eq!(values["login_hint"], "user%40contoso.com");
        assert_eq!(values["domain_hint"], "organizations");
        assert_eq!(values["prompt"], "select_account");
        assert_eq!(values["response_mode"], "form%20post");
    }

    #[test]
    fn verifier_state_and_nonce_come_from_the_seed_and_differ() {
        let scopes = Scopes::default();
        let first = begin(&parameters(&scopes));
        assert_eq!(first, begin(&parameters(&scopes)));
        assert_eq!((first.code_verifier.len(), first.state.len(), first.nonce.len()), (128, 43, 43));
        assert_ne!(first.state, first.nonce);
        assert!(!first.code_verifier.starts_with(&first.state));
        let other = request(ENDPOINT, &parameters(&scopes), &[1, 2, 3, 5]).expect("a sign-in");
        assert_ne!(first.code_verifier, other.code_verifier);
        assert_ne!((first.state, first.nonce), (other.state, other.nonce));
    }

    #[test]
    fn an_endpoint_keeps_its_own_query() {
        let scopes = Scopes::default();
        let request =
            request("https://idp.contoso.com/login?p=1", &parameters(&scopes), &SEED).expect("a sign-in");
        assert!(request.url.starts_with("https://idp.contoso.com/login?p=1&scope="), "{}", request.url);
    }

    #[test]
    fn an_extra_parameter_replaces_none_of_the_sign_in() {
        let scopes = Scopes::default();
        for name in ["state", "State", "redirect_uri", "CODE_CHALLENGE", "nonce", "scope"] {
            let extra = vec![(name.to_string(), "x".to_string())];
            let error = request(
                ENDPOINT,
                &AuthorizationParameters { extra_query: &extra, ..parameters(&scopes) },
                &SEED,
            )
            .expect_err(name);
            assert_eq!(error.code, "duplicate_query_parameter");
            assert!(error.message.contains(name), "{error}");
        }
    }

    #[test]
    fn a_sign_in_needs_a_redirect_uri() {
        let scopes = Scopes::default();
        let parameters = AuthorizationParameters { redirect_uri: " ", ..parameters(&scopes) };
        let error = request(ENDPOINT, &parameters, &SEED).expect_err("no redirect URI");
        assert_eq!(error.code, "no_redirect_uri");
    }

    #[test]
    fn debug_shows_the_endpoint_only() {
        let scopes = Scopes::default();
        let request = begin(&AuthorizationParameters { login_hint: Some("canary"), ..parameters(&scopes) });
        let shown = format!("{request:?}");
        assert!(shown.contains(ENDPOINT), "{shown}");
        for hidden in [request.code_verifier.as_str(), &request.state, &request.nonce, "canary"] {
            assert!(!shown.contains(hidden), "{shown}");
        }
    }

    proptest! {
        #[test]
        fn a_text_of_any_kind_stays_in_its_parameter(hint in "\\PC+", name in "[a-z&=#]{1,6}x", value in "\\PC+") {
            let scopes = Scopes::default();
            let extra = [(name, value.clone())];
            let parameters = parameters(&scopes);
            let plain = begin(&parameters);
            let other =
                begin(&AuthorizationParameters { login_hint: Some(&hint), extra_query: &extra, ..parameters });
            let added = [&hint, &value].into_iter().filter(|text| !text.trim().is_empty()).count();
            prop_assert_eq!(other.url.matches('&').count(), plain.url.matches('&').count() + added);
            prop_assert!(other.url.is_ascii() && !other.url.contains('#'));
        }
    }
}
