//! Who is the client, and has it proved that? Secret, assertion, certificate in the handshake.

use aws_lc_rs::{constant_time, digest};

use crate::{
    Certificate, Flow, Registration,
    assertion::{self, Circumstances, Verified},
    hosts::Service,
    refusal::{self, Refusal},
    request::TokenRequest,
};

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const JWT_POP: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-pop";

/// A client that has proved itself.
#[derive(Debug)]
pub(crate) struct Client {
    /// `azpacr`: 0 for a page in a browser, 1 for a secret, 2 for a certificate or a federated credential.
    pub(crate) strength: u8,
    /// The certificate that the handshake proved the possession of.
    pub(crate) binding: Option<Certificate>,
}

impl Client {
    /// A page in a browser has proved nothing but its origin.
    pub(crate) fn is_browser(&self) -> bool {
        self.strength == 0
    }
}

/// Authenticates the client of a token request.
pub(crate) fn authenticate(
    request: &TokenRequest<'_>,
    flow: Flow,
    application: &Registration,
    at: &Circumstances<'_>,
) -> Result<Client, Refusal> {
    match request.service {
        Service::Login if is_browser(request, flow) => Ok(Client { strength: 0, binding: None }),
        Service::Login => over_tls(request, application, at),
        Service::MutualTls => over_mutual_tls(request, flow, application, at),
    }
}

/// A page in a browser redeems what was given to it, across origins and without credential.
fn is_browser(request: &TokenRequest<'_>, flow: Flow) -> bool {
    matches!(flow, Flow::AuthorizationCode | Flow::RefreshToken)
        && request.has_origin
        && request.basic.is_none()
        && ["client_secret", "client_assertion", "client_assertion_type"]
            .iter()
            .all(|name| request.form.get(name).is_none())
}

/// At a login host: a secret or an assertion.
fn over_tls(
    request: &TokenRequest<'_>,
    application: &Registration,
    at: &Circumstances<'_>,
) -> Result<Client, Refusal> {
    let bound = request.wants_bound_token() || assertion_type(request)? == Some(AssertionType::Pop);
    if bound {
        return Err(refusal::CREDENTIAL_MISSING.because(
            "A client certificate in the TLS handshake is required; call the mutual TLS endpoint.",
        ));
    }
    if let Some(text) = assertion_text(request)? {
        return match assertion::verify(text, application, at)? {
            Verified::Agent { bound_to: Some(bound_to) } => Err(unbound(&bound_to)),
            _ => Ok(Client { strength: 2, binding: None }),
        };
    }
    let secret =
        request.form.get("client_secret").or(request.basic.as_ref().map(|(_, secret)| secret.as_str()));
    let Some(secret) = secret else {
        return Err(refusal::CREDENTIAL_MISSING.because(
            "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
        ));
    };
    check_secret(secret, application, at.now_unix)?;
    Ok(Client { strength: 1, binding: None })
}

/// At a mutual TLS host: a certificate in the handshake, and an assertion that belongs to it, or none.
fn over_mutual_tls(
    request: &TokenRequest<'_>,
    flow: Flow,
    application: &Registration,
    at: &Circumstances<'_>,
) -> Result<Client, Refusal> {
    if !application.mtls {
        return Err(refusal::MTLS_DISABLED.because(format!(
            "The required feature 'mutual TLS client authentication' is disabled for the application '{}'.",
            application.client_id
        )));
    }
    let scenario = if !application.mtls_flows.contains(&flow) {
        request.form.get("grant_type")
    } else if request.wants_bound_token() && !application.pop {
        Some("a token bound to the certificate")
    } else if request.form.get("client_secret").is_some() || request.basic.is_some() {
        Some("a client secret")
    } else {
        None
    };
    if let Some(scenario) = scenario {
        return Err(refusal::MTLS_SCENARIO_DISABLED.because(format!(
            "Mutual TLS with {scenario} is not enabled for the application '{}'.",
            application.client_id
        )));
    }
    let Some((certificate, chain)) = request.handshake.split_first() else {
        return Err(refusal::CREDENTIAL_MISSING.because(
            "The client presented no certificate in the TLS handshake, which this endpoint demands.",
        ));
    };
    if !certificate.is_valid_at(at.now_unix) {
        return Err(assertion::expired(certificate));
    }
    let registered = || assertion::is_registered(certificate, chain, application, at.directory, at.now_unix);
    match (assertion_text(request)?, assertion_type(request)?) {
        (None, _) if application.blueprint.is_some() => {
            return Err(refusal::CREDENTIAL_MISSING
                .because("An agent authenticates with the token that its blueprint got for it."));
        }
        (None, _) if !request.wants_bound_token() && !application.tls_client_auth => {
            return Err(refusal::CREDENTIAL_MISSING.because(
                "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
            ));
        }
        (None, _) => registered()?,
        (Some(text), kind) => match assertion::verify(text, application, at)? {
            Verified::OwnCertificate(signer) if *signer == *certificate => {}
            Verified::OwnCertificate(signer) => return Err(differ(&signer.x5t_s256(), certificate)),
            Verified::Federated { bound_to: Some(bound_to) } if bound_to == certificate.x5t_s256() => {}
            Verified::Federated { bound_to: Some(bound_to) } => return Err(differ(&bound_to, certificate)),
            Verified::Federated { bound_to: None } if kind == Some(AssertionType::Pop) => {
                return Err(differ("", certificate));
            }
            Verified::Federated { bound_to: None } => registered()?,
            Verified::Agent { bound_to: Some(bound_to) }
                if bound_to == certificate.x5t_s256() && kind == Some(AssertionType::Pop) => {}
            Verified::Agent { bound_to } => return Err(differ(&bound_to.unwrap_or_default(), certificate)),
        },
    }
    Ok(Client { strength: 2, binding: Some(certificate.clone()) })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AssertionType {
    Bearer,
    Pop,
}

fn assertion_type(request: &TokenRequest<'_>) -> Result<Option<AssertionType>, Refusal> {
    match request.form.get("client_assertion_type") {
        None => Ok(None),
        Some(JWT_BEARER) => Ok(Some(AssertionType::Bearer)),
        Some(JWT_POP) => Ok(Some(AssertionType::Pop)),
        Some(other) => Err(refusal::REQUEST_INVALID
            .because(format!("The value '{other}' of 'client_assertion_type' is not supported."))),
    }
}

/// The assertion, which needs its type beside it, and the other way round.
fn assertion_text<'a>(request: &'a TokenRequest<'_>) -> Result<Option<&'a str>, Refusal> {
    let present = |name| request.form.get(name).is_some();
    if !present("client_assertion") && !present("client_assertion_type") {
        return Ok(None);
    }
    request.form.require("client_assertion_type")?;
    request.form.require("client_assertion").map(Some)
}

fn differ(expected: &str, certificate: &Certificate) -> Refusal {
    refusal::BINDING_MISMATCH.because(format!(
        "The certificate of the TLS handshake does not match the one that the assertion is bound to. \
         Handshake: '{}', assertion: '{expected}'.",
        certificate.x5t_s256()
    ))
}

fn unbound(expected: &str) -> Refusal {
    refusal::BINDING_MISMATCH.because(format!(
        "The assertion is bound to the certificate '{expected}', which a TLS handshake must show; call the mutual TLS \
         endpoint."
    ))
}

fn check_secret(secret: &str, application: &Registration, now_unix: u64) -> Result<(), Refusal> {
    // Every secret is compared, and by digest: neither time nor length tells which one came close.
    let same = |own: &str| constant_time::verify_slices_are_equal(&sha256(own), &sha256(secret)).is_ok();
    // An agent has no secret, whatever was registered.
    let secrets = if application.blueprint.is_some() { &[] } else { application.secrets.as_slice() };
    let matching = secrets.iter().filter(|own| same(&own.value)).map(|own| own.expires_unix).max();
    match matching {
        Some(expires) if now_unix < expires => Ok(()),
        Some(_) => Err(refusal::SECRET_EXPIRED.because(format!(
            "The provided client secret keys for app '{}' are expired.",
            application.client_id
        ))),
        None => Err(refusal::SECRET_WRONG.because(format!(
            "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, \
             not the client secret ID, for a secret added to app '{}'.",
            application.client_id
        ))),
    }
}

fn sha256(text: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, text.as_bytes()).as_ref().to_vec()
}
