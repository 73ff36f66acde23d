//! Client assertions (RFC 7523): signed by the application's own certificate, or by a federated issuer.
//!
//! Lenient by default, since today's libraries differ: times as numbers or strings, `x5c` as a string or an array,
//! thumbprints in either base64 alphabet. An application's strict mode takes what the RFCs say and nothing else.

use serde_json::Value;

use crate::{
    Certificate, Registration, Tenant, agent,
    certificate::Thumbprint,
    clock::timestamp,
    directory::Directory,
    encoding::{from_base64, from_base64_exactly, from_base64url},
    hosts::Hosts,
    jwt::Jwt,
    refusal::{self, Refusal},
};

/// Clocks may differ by this much, in seconds.
const SKEW: u64 = 5 * 60;
/// The longest lifetime of an assertion, in seconds; in strict mode `STRICT_LIFETIME`.
const LIFETIME: u64 = 24 * 60 * 60;
const STRICT_LIFETIME: u64 = 10 * 60;

/// What the checks look at beside the assertion.
pub(crate) struct Circumstances<'a> {
    pub(crate) directory: &'a Directory,
    pub(crate) hosts: &'a Hosts,
    /// Nothing where the path stands for many tenants.
    pub(crate) tenant: Option<&'a Tenant>,
    /// The tenant as the path names it.
    pub(crate) path_tenant: &'a str,
    /// The called URL, and the issuers of the tenants' tokens.
    pub(crate) endpoint: &'a str,
    pub(crate) issuers: Vec<String>,
    /// The authority's own signing key: its tokens are assertions too.
    pub(crate) own_key: &'a Certificate,
    pub(crate) handshake: &'a [Certificate],
    pub(crate) now_unix: u64,
}

/// An assertion that passed.
#[derive(Debug)]
pub(crate) enum Verified {
    /// Signed by this certificate of the application.
    OwnCertificate(Box<Certificate>),
    /// Of a federated issuer; bound to the certificate of this `x5t#S256`, if bound at all.
    Federated { bound_to: Option<String> },
    /// The token that an agent's blueprint got for it, bound or not.
    Agent { bound_to: Option<String> },
}

/// Checks an assertion for `application`.
pub(crate) fn verify(
    text: &str,
    application: &Registration,
    at: &Circumstances<'_>,
) -> Result<Verified, Refusal> {
    let jwt = Jwt::parse(text).ok_or_else(|| malformed("JWT token is invalid or malformed."))?;
    let algorithm = jwt.header_text("alg").unwrap_or("none");
    if !["RS256", "PS256", "ES256"].contains(&algorithm) {
        return Err(malformed(&format!("'{algorithm}' is not a supported signature algorithm.")));
    }
    if let Some(blueprint) = &application.blueprint {
        return agent::verify(&jwt, algorithm, application, blueprint, at);
    }
    let is_own =
        |claim| jwt.claim_text(claim).is_some_and(|id| id.eq_ignore_ascii_case(&application.client_id));
    if !is_own("iss") && !is_own("sub") && (!application.federated.is_empty() || is_foreign(&jwt)) {
        return federated(&jwt, algorithm, application, at);
    }
    let certificate = own_certificate(&jwt, application, at)?;
    if !certificate.verifies(algorithm, jwt.signing_input.as_bytes(), &jwt.signature) {
        return Err(bad_key("Client assertion failed signature validation.", &certificate.sha1_hex()));
    }
    if !certificate.is_valid_at(at.now_unix) {
        return Err(expired(&certificate));
    }
    if !(is_own("iss") && is_own("sub")) {
        return Err(refusal::ASSERTION_ISSUER.because(
            "Client assertion application identifier does not match 'client_id' parameter: 'iss' and 'sub' must be it.",
        ));
    }
    audience(&jwt, application.strict, at)?;
    let expires = times(&jwt, application.strict, at.now_unix)?;
    if application.strict {
        strict(&jwt, application, at, expires)?;
    }
    Ok(Verified::OwnCertificate(Box::new(certificate)))
}

/// The refusal of a certificate outside its validity.
pub(crate) fn expired(certificate: &Certificate) -> Refusal {
    refusal::CERTIFICATE_TIME.because(format!(
        "The provided certificate is not within its specified validity period: {} to {}.",
        timestamp(certificate.not_before_unix()),
        timestamp(certificate.not_after_unix())
    ))
}

/// Whether the application may use this certificate: by thumbprint, or by name with a chain to a trusted issuer.
pub(crate) fn is_registered(
    certificate: &Certificate,
    chain: &[Certificate],
    application: &Registration,
    directory: &Directory,
    now_unix: u64,
) -> Result<(), Refusal> {
    if application.has_thumbprint_of(certificate) {
        return Ok(());
    }
    if application.subject_names.is_empty() {
        return Err(bad_key("The key was not found.", &certificate.sha1_hex()));
    }
    if !certificate.is_valid_at(now_unix) {
        return Err(expired(certificate));
    }
    let named = |name: &&crate::registration::SubjectName| {
        certificate.is_named(&name.subject) && certificate.is_issued_by(&name.issuer)
    };
    if application.subject_names.iter().find(named).is_none() {
        return Err(refusal::CERTIFICATE_NAME.because(format!(
            "Invalid certificate - subject name in certificate is not authorized. The certificate's subject is '{}'.",
            certificate.subject()
        )));
    }
    if !certificate.chains_to(chain, &directory.trusted_issuers, now_unix) {
        return Err(refusal::CERTIFICATE_NAME
            .because("Invalid certificate - no chain leads from the certificate to a trusted issuer."));
    }
    Ok(())
}

fn is_foreign(jwt: &Jwt) -> bool {
    jwt.claim_text("iss").is_some_and(|issuer| issuer.contains("://"))
}

fn malformed(reason: &str) -> Refusal {
    refusal::JWT_MALFORMED.because(reason)
}

fn bad_key(reason: &str, thumbprint: &str) -> Refusal {
    refusal::ASSERTION_KEY.because(format!(
        "The certificate with identifier used to sign the client assertion is not registered on application. \
         [Reason - {reason}, Thumbprint of key used by client: '{thumbprint}']"
    ))
}

/// The registered certificate that the assertion's header names or brings.
fn own_certificate(
    jwt: &Jwt,
    application: &Registration,
    at: &Circumstances<'_>,
) -> Result<Certificate, Refusal> {
    let named = thumbprints(jwt, application.strict)?;
    let shown = named.first().map_or_else(String::new, Thumbprint::hex);
    let brought = x5c(jwt, application.strict)?;
    if let Some((leaf, chain)) = brought.split_first() {
        if !named.iter().all(|thumbprint| leaf.has(*thumbprint)) {
            return Err(bad_key("The thumbprint is not that of the certificate in 'x5c'.", &shown));
        }
        is_registered(leaf, chain, application, at.directory, at.now_unix)?;
        return Ok(leaf.clone());
    }
    if named.is_empty() {
        return Err(bad_key("The assertion names no key.", ""));
    }
    let is_named = |certificate: &&Certificate| named.iter().all(|thumbprint| certificate.has(*thumbprint));
    let known = application.certificates.iter().filter_map(|registered| registered.whole());
    known
        .chain(at.handshake.first().filter(|certificate| application.has_thumbprint_of(certificate)))
        .find(is_named)
        .cloned()
        .ok_or_else(|| bad_key("The key was not found.", &shown))
}

/// `x5t` and `x5t#S256`; a `kid` where neither is there.
fn thumbprints(jwt: &Jwt, strict: bool) -> Result<Vec<Thumbprint>, Refusal> {
    let mut found = Vec::new();
    for name in ["x5t#S256", "x5t"] {
        let Some(text) = jwt.header_text(name) else { continue };
        let bytes = if strict { from_base64url(text) } else { from_base64(text) };
        let thumbprint = bytes.and_then(Thumbprint::from_bytes);
        found.push(thumbprint.ok_or_else(|| malformed(&format!("The header '{name}' is no thumbprint.")))?);
    }
    if found.is_empty() && !strict {
        found.extend(jwt.header_text("kid").and_then(Thumbprint::parse));
    }
    Ok(found)
}

/// The certificates of `x5c`, leaf first: an array (RFC 7515 section 4.1.6), or one string with the leaf.
fn x5c(jwt: &Jwt, strict: bool) -> Result<Vec<Certificate>, Refusal> {
    let texts = match jwt.header.get("x5c") {
        None => return Ok(Vec::new()),
        Some(Value::String(leaf)) if !strict => vec![leaf.as_str()],
        Some(Value::Array(chain)) => chain.iter().map(|entry| entry.as_str().unwrap_or_default()).collect(),
        Some(_) => return Err(malformed("The header 'x5c' is not an array of certificates.")),
    };
    let decode = if strict { from_base64_exactly } else { from_base64 };
    let certificate = |text: &str| decode(text).and_then(|der| Certificate::from_der(&der).ok());
    let chain: Option<Vec<_>> = texts.into_iter().map(certificate).collect();
    match chain {
        Some(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(malformed("The header 'x5c' holds what is no certificate.")),
    }
}

fn audience(jwt: &Jwt, strict: bool, at: &Circumstances<'_>) -> Result<(), Refusal> {
    let accepted = |audience: &str| {
        if strict {
            audience == at.endpoint || at.issuers.iter().any(|issuer| issuer == audience)
        } else {
            is_audience(audience, at)
        }
    };
    let audiences = strings(jwt.payload.get("aud"));
    if audiences.iter().any(|audience| accepted(audience)) {
        return Ok(());
    }
    Err(refusal::ASSERTION_AUDIENCE.because(format!(
        "Client assertion audience claim does not match Realm issuer. The audience is '{}', the called endpoint '{}'.",
        audiences.join(" "),
        at.endpoint
    )))
}

/// Any form of the tenant's token endpoint at any host of any cloud's authority, or of its issuer.
fn is_audience(audience: &str, at: &Circumstances<'_>) -> bool {
    let Some((host, path)) = audience.strip_prefix("https://").and_then(|rest| rest.split_once('/')) else {
        return false;
    };
    let same_cloud = |host: &str| {
        // Where the authority is reached under its own name, the port is in the URL.
        let name = |host: &str| host.split(':').next().map(str::to_owned).unwrap_or_default();
        let cloud = |host: &str| at.hosts.site(&name(host)).map(|site| site.cloud.preferred_network.clone());
        let called = at.endpoint.strip_prefix("https://").and_then(|rest| rest.split('/').next());
        cloud(host).is_some_and(|found| called.and_then(cloud) == Some(found))
    };
    let (tenant, rest) = path.split_once('/').unwrap_or((path, ""));
    let is_form = ["oauth2/v2.0/token", "oauth2/token", "v2.0", ""].contains(&rest.trim_end_matches('/'));
    let same_tenant =
        at.path_tenant.eq_ignore_ascii_case(tenant) || at.tenant.is_some_and(|called| called.is(tenant));
    same_cloud(host) && same_tenant && is_form
}

/// Checks `nbf`, `iat` and `exp`; gives `exp`.
pub(crate) fn times(jwt: &Jwt, strict: bool, now: u64) -> Result<u64, Refusal> {
    let time = |name: &str| match jwt.payload.get(name) {
        None => Ok(None),
        Some(value) => {
            let read = if strict { value.as_u64() } else { lenient_time(value) };
            read.map(Some).ok_or_else(|| malformed(&format!("The claim '{name}' is no time.")))
        }
    };
    let (not_before, issued) = (time("nbf")?, time("iat")?);
    let expires = time("exp")?.ok_or_else(|| malformed("The claim 'exp' is missing."))?;
    let starts = not_before.or(issued).unwrap_or(now);
    let longest = if strict { STRICT_LIFETIME } else { LIFETIME };
    let in_time = starts <= now + SKEW && now <= expires.saturating_add(SKEW);
    if in_time && expires.saturating_sub(starts) <= longest {
        return Ok(expires);
    }
    Err(refusal::ASSERTION_TIME.because(format!(
        "Client assertion is not within its valid time range. Current time: {}, assertion valid from {}, \
         expiry time of assertion {}, longest lifetime {longest} s.",
        timestamp(now),
        timestamp(starts),
        timestamp(expires)
    )))
}

fn lenient_time(value: &Value) -> Option<u64> {
    let number = |text: &str| text.trim().parse().ok();
    value
        .as_u64()
        .or_else(|| value.as_f64().filter(|v| *v >= 0.0).map(|v| v as u64))
        .or_else(|| value.as_str().and_then(number))
}

fn strict(
    jwt: &Jwt,
    application: &Registration,
    at: &Circumstances<'_>,
    expires: u64,
) -> Result<(), Refusal> {
    let jti = jwt.claim_text("jti").filter(|jti| !jti.is_empty());
    let jti = jti.ok_or_else(|| malformed("Strict: the claim 'jti' is missing."))?;
    if at.directory.use_once(&application.client_id, jti, expires.saturating_add(SKEW), at.now_unix) {
        Ok(())
    } else {
        Err(malformed("Strict: the claim 'jti' has been used before."))
    }
}

fn federated(
    jwt: &Jwt,
    algorithm: &str,
    application: &Registration,
    at: &Circumstances<'_>,
) -> Result<Verified, Refusal> {
    let issuer = jwt.claim_text("iss").unwrap_or_default();
    let subject = jwt.claim_text("sub").unwrap_or_default();
    let audiences = strings(jwt.payload.get("aud"));
    let no_match = |kind: refusal::RefusalKind, what: &str, value: &str| {
        kind.because(format!(
            "No matching federated identity record found for presented assertion {what} '{value}'. Please check your \
             federated identity credential Subject, Audience and Issuer against the presented assertion."
        ))
    };
    let mut credentials: Vec<_> = application.federated.iter().filter(|own| own.issuer == issuer).collect();
    if credentials.is_empty() {
        return Err(no_match(refusal::FEDERATED_ISSUER, "issuer", issuer));
    }
    credentials.retain(|own| own.subject == subject);
    if credentials.is_empty() {
        return Err(no_match(refusal::FEDERATED_SUBJECT, "subject", subject));
    }
    let own = at.issuers.iter().any(|own| own == issuer).then_some(at.own_key);
    let is_for = |credential: &str, audience: &str| {
        credential == audience || (own.is_some() && is_exchange(credential, audience, at))
    };
    let meant = |own: &str| audiences.iter().any(|audience| is_for(own, audience));
    if !credentials.iter().any(|own| meant(&own.audience)) {
        return Err(no_match(refusal::FEDERATED_AUDIENCE, "audience", &audiences.join(" ")));
    }
    let signed = |key: &Certificate| key.verifies(algorithm, jwt.signing_input.as_bytes(), &jwt.signature);
    if !at.directory.keys_of(issuer).chain(own).any(signed) {
        return Err(refusal::ASSERTION_KEY.because(format!(
            "Client assertion failed signature validation with the keys of the issuer '{issuer}'."
        )));
    }
    times(jwt, false, at.now_unix)?;
    Ok(Verified::Federated { bound_to: jwt.bound_to().map(str::to_owned) })
}

/// Whether an audience of this authority's own token is the exchange's, which credentials name by its identifier.
fn is_exchange(credential: &str, audience: &str, at: &Circumstances<'_>) -> bool {
    let called = at.endpoint.strip_prefix("https://").and_then(|rest| rest.split('/').next());
    let site = called.and_then(|host| at.hosts.site(host));
    audience == agent::EXCHANGE && site.is_some_and(|site| agent::is_exchange_of(site.cloud, credential))
}

fn strings(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}
