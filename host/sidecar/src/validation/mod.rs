//! Whether a token that a caller brings is one for this application.

mod keys;

use std::sync::Arc;

use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde_json::{Map, Value};
use symbolon::{Application, Clock};
use symbolon_resources::configuration::{AuthorityType, WebApiSettings};
use symbolon_resources::credentials::{DecryptionError, certificate_thumbprints, decrypt_token};
use uuid::Uuid;

use self::keys::{Metadata, Source};
use crate::caller::PeerCertificate;

/// Checks access tokens of version 1 and 2 by the keys of the application's authority.
pub(crate) struct Validator {
    audiences: Vec<String>,
    settings: WebApiSettings,
    clock: Arc<dyn Clock>,
    /// That of version 1, then that of version 2. Authorities other than Entra ID have one for both.
    sources: [Source; 2],
}

/// Whom a token stands for. `Debug` shows nothing of it.
pub(crate) struct Principal {
    pub(crate) token: String,
    pub(crate) claims: Map<String, Value>,
}

/// Why a token isn't accepted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// For the caller, in words that a header can hold.
    #[error("{0}")]
    Invalid(&'static str),
    /// Nothing is known of the token: the authority's keys can't be had.
    #[error("the authority's keys can't be had")]
    KeysUnavailable,
}

impl Validator {
    pub(crate) fn new(application: &Application, settings: WebApiSettings, clock: Arc<dyn Clock>) -> Self {
        let options = application.options();
        let client_id = options.client_id();
        let audiences = match settings.audiences.is_empty() {
            true => vec![client_id.to_owned(), format!("api://{client_id}")],
            false => settings.audiences.clone(),
        };
        let authority = options.authority().trim_end_matches('/');
        let is_entra = !matches!(options.authority_type(), Some(AuthorityType::Oidc | AuthorityType::Adfs));
        let second = if is_entra { format!("{authority}/v2.0") } else { authority.to_owned() };
        let sources = [authority, &second].map(|issuer| {
            let url = format!("{issuer}/.well-known/openid-configuration");
            Source::new(application.clone(), url, Arc::clone(&clock))
        });
        Self { audiences, settings, clock, sources }
    }

    /// What an application may be called with: a token of its authority, for it, at its time, with a scope or a role.
    ///
    /// A token that is bound to a certificate (RFC 8705 §3.1) is good on connections with this one only, where the listener
    /// asks for certificates.
    pub(crate) async fn validate(
        &self,
        token: &str,
        certificate: Option<&PeerCertificate>,
    ) -> Result<Principal, Rejection> {
        // What is inside is the token, for those as well who call other APIs with it.
        let token = match token.split('.').count() == ENCRYPTED_PARTS {
            true => &self.decrypted(token)?,
            false => token,
        };
        let header = decode_header(token).map_err(|_| Rejection::Invalid("the token is malformed"))?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(Rejection::Invalid("the signature algorithm is invalid"));
        }
        let unverified = symbolon::UserAssertion::from(token).unverified_claims();
        let unverified = unverified.ok_or(Rejection::Invalid("the token is malformed"))?;
        let is_first = unverified.get("ver").and_then(Value::as_str) == Some("1.0");
        let key_id = header.kid.ok_or(Rejection::Invalid("the signature key was not found"))?;
        let source = &self.sources[usize::from(!is_first)];
        let metadata = source.with_key(&key_id).await?;
        let claims = verified(token, header.alg, &metadata, &key_id)?;
        self.check(&metadata, &key_id, &claims)?;
        check_binding(&claims, certificate)?;
        Ok(Principal { token: token.to_owned(), claims })
    }

    fn decrypted(&self, token: &str) -> Result<String, Rejection> {
        let keys = &self.settings.decryption_keys;
        if keys.is_empty() {
            return Err(Rejection::Invalid("the token is encrypted"));
        }
        decrypt_token(token, keys).map_err(|error| {
            Rejection::Invalid(match error {
                DecryptionError::Malformed => "the token is malformed",
                DecryptionError::Unsupported => "the encryption of the token isn't supported",
                _ => "the token can't be decrypted",
            })
        })
    }

    /// Whether the authority has said what it signs with, or says it now.
    pub(crate) async fn reaches_authority(&self) -> bool {
        let [_, second] = &self.sources;
        self.sources.iter().any(Source::is_known) || second.ask().await
    }

    /// Whether one of the configured scopes is the token's, where there are any.
    pub(crate) fn has_accepted_scope(&self, principal: &Principal) -> bool {
        let accepted = &self.settings.scopes;
        accepted.is_empty()
            || principal.scopes().any(|scope| accepted.iter().any(|known| known.as_str() == scope))
    }

    /// Those of which a token must have one, where there are any.
    pub(crate) fn accepted_scopes(&self) -> &[String] {
        &self.settings.scopes
    }

    fn check(&self, metadata: &Metadata, key_id: &str, claims: &Map<String, Value>) -> Result<(), Rejection> {
        self.check_issuer(metadata, key_id, claims)?;
        self.check_audience(claims)?;
        self.check_times(claims)?;
        let is_for_something =
            CLAIMS_OF_PERMISSIONS.iter().filter_map(|name| claims.get(*name)).any(says_something);
        match is_for_something || self.settings.allow_acl {
            true => Ok(()),
            false => Err(Rejection::Invalid("neither scope nor roles claim was found (IDW10201)")),
        }
    }

    /// The metadata of authorities for many tenants have a place in the issuer for that of the token; each key may be one
    /// tenant's.
    fn check_issuer(
        &self,
        metadata: &Metadata,
        key_id: &str,
        claims: &Map<String, Value>,
    ) -> Result<(), Rejection> {
        const INVALID: Rejection = Rejection::Invalid("the issuer is invalid");
        let issuer = text(claims, "iss").ok_or(INVALID)?;
        let tenant = text(claims, "tid").filter(|tenant| Uuid::try_parse(tenant).is_ok());
        let of_tenant = |template: &str| match (template.contains(TENANT_PLACE), tenant) {
            (false, _) => Some(template.to_owned()),
            (true, tenant) => Some(template.replace(TENANT_PLACE, tenant?)),
        };
        let expected = [Some(metadata.issuer.as_str()), metadata.issuer_of_key(key_id)];
        let is_expected = |template: &str| of_tenant(template).as_deref() == Some(issuer);
        match expected.into_iter().flatten().all(is_expected) {
            true => Ok(()),
            false => Err(INVALID),
        }
    }

    fn check_audience(&self, claims: &Map<String, Value>) -> Result<(), Rejection> {
        let accepted = |audience: &Value| {
            audience.as_str().is_some_and(|audience| self.audiences.iter().any(|known| known == audience))
        };
        let is_accepted = match claims.get("aud") {
            Some(Value::Array(audiences)) => audiences.iter().any(accepted),
            Some(audience) => accepted(audience),
            None => false,
        };
        if is_accepted { Ok(()) } else { Err(Rejection::Invalid("the audience is invalid")) }
    }

    fn check_times(&self, claims: &Map<String, Value>) -> Result<(), Rejection> {
        let now = self.clock.now_unix();
        let time = |name: &str| {
            claims.get(name).and_then(|time| time.as_u64().or(time.as_f64().map(|time| time as u64)))
        };
        match time("exp") {
            None => return Err(Rejection::Invalid("the token has no expiration")),
            Some(end) if now >= end.saturating_add(SKEW_SECONDS) => {
                return Err(Rejection::Invalid("the token is expired"));
            }
            Some(_) => {}
        }
        match time("nbf") {
            Some(begin) if begin > now.saturating_add(SKEW_SECONDS) => {
                Err(Rejection::Invalid("the token is not yet valid"))
            }
            _ => Ok(()),
        }
    }
}

impl Principal {
    fn scopes(&self) -> impl Iterator<Item = &str> {
        let scopes = ["scp", "scope"].into_iter().find_map(|name| text(&self.claims, name));
        scopes.unwrap_or_default().split_whitespace()
    }
}

impl std::fmt::Debug for Principal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Principal").finish_non_exhaustive()
    }
}

fn check_binding(
    claims: &Map<String, Value>,
    certificate: Option<&PeerCertificate>,
) -> Result<(), Rejection> {
    let bound_to = claims.get("cnf").and_then(|confirmation| confirmation.get("x5t#S256")?.as_str());
    let (Some(bound_to), Some(PeerCertificate(certificate))) = (bound_to, certificate) else { return Ok(()) };
    match certificate_thumbprints(certificate).0 == bound_to {
        true => Ok(()),
        false => Err(Rejection::Invalid("the token is bound to another certificate")),
    }
}

/// The claims, once the signature is right. Everything else is checked with the application's clock and rules.
fn verified(
    token: &str,
    algorithm: Algorithm,
    metadata: &Metadata,
    key_id: &str,
) -> Result<Map<String, Value>, Rejection> {
    let key = metadata.key(key_id).ok_or(Rejection::Invalid("the signature key was not found"))?;
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let decoded = decode(token, key, &validation);
    decoded.map(|decoded| decoded.claims).map_err(|_| Rejection::Invalid("the signature is invalid"))
}

fn says_something(claim: &Value) -> bool {
    match claim {
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(values) => !values.is_empty(),
        _ => false,
    }
}

fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name)?.as_str()
}

/// Those that Entra ID and conforming servers sign access tokens with. None that a public key could be a secret for.
const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::ES256];
/// One of them says that the token is for something.
const CLAIMS_OF_PERMISSIONS: [&str; 4] = ["scp", "scope", "roles", "role"];
/// How many parts a token in JWE compact serialization has (RFC 7516 §7.1).
const ENCRYPTED_PARTS: usize = 5;
/// How far the clocks of authority and host may be apart: as .NET has it.
const SKEW_SECONDS: u64 = 300;
const TENANT_PLACE: &str = "{tenantid}";
