//! What the authority has to see of a row, and what has to come of it.

use symbolon::{AuthenticationResult, TokenSource};
use symbolon_authority::{Endpoint, LogEntry};

/// A request that has to be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leg {
    pub(super) grant: &'static str,
    pub(super) host: &'static str,
    pub(super) proof: Proof,
}

/// How the client proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    Secret,
    /// An assertion that names the certificate.
    Assertion,
    /// An assertion that brings the certificate along.
    AssertionWithChain,
    /// The same, and the certificate in the handshake.
    AssertionOverMtls,
    /// The certificate in the handshake alone, for a token that is bound to it.
    Certificate,
    /// The token that an agent's blueprint got for it.
    AgentToken,
    /// The same, bound to the certificate in the handshake.
    BoundAgentToken,
}

impl Leg {
    /// What isn't as it has to be.
    fn problem(self, request: &LogEntry) -> Option<&'static str> {
        let presented = request.client_certificate.is_some();
        let wants_certificate =
            matches!(self.proof, Proof::AssertionOverMtls | Proof::Certificate | Proof::BoundAgentToken);
        let checks = [
            (request.form_text("grant_type") == Some(self.grant), "is another one"),
            (request.host == self.host, "went to another host"),
            (!presented || wants_certificate, "presented a certificate and shouldn't"),
            (presented || !wants_certificate, "presented no certificate"),
            (proof(request) == Some(self.proof), "proves in another way who the client is"),
        ];
        checks.into_iter().find(|(holds, _)| !holds).map(|(_, problem)| problem)
    }
}

/// How the client proved who it is.
fn proof(request: &LogEntry) -> Option<Proof> {
    let presented = request.client_certificate.is_some();
    let kind = request.form_text("client_assertion_type").and_then(|kind| kind.rsplit(':').next());
    let has_secret = request.form_names().any(|name| name == "client_secret");
    let assertion = request.client_assertion().map(|(header, payload)| {
        let of_agent = payload.get("iss") != payload.get("sub");
        (of_agent, header.get("x5c").is_some())
    });
    match (has_secret, assertion, kind, presented) {
        (true, None, None, false) => Some(Proof::Secret),
        (false, None, None, true) => Some(Proof::Certificate),
        (false, Some((false, false)), Some("jwt-bearer"), false) => Some(Proof::Assertion),
        (false, Some((false, true)), Some("jwt-bearer"), false) => Some(Proof::AssertionWithChain),
        (false, Some((false, true)), Some("jwt-bearer"), true) => Some(Proof::AssertionOverMtls),
        (false, Some((true, _)), Some("jwt-bearer"), false) => Some(Proof::AgentToken),
        (false, Some((true, _)), Some("jwt-pop"), true) => Some(Proof::BoundAgentToken),
        _ => None,
    }
}

/// The first thing that isn't as it has to be.
pub(super) fn problem(
    legs: &[Leg],
    token_type: &str,
    first: &AuthenticationResult,
    later: &AuthenticationResult,
    seen: &[LogEntry],
) -> Option<String> {
    // A platform is asked before the authority.
    let requests: Vec<_> = seen.iter().filter(|entry| entry.endpoint == Some(Endpoint::Token)).collect();
    if requests.len() != legs.len() {
        return Some(format!(
            "the authority saw {} requests and should have seen {}",
            requests.len(),
            legs.len()
        ));
    }
    for (number, (leg, request)) in legs.iter().zip(requests).enumerate() {
        if let Some(problem) = leg.problem(request) {
            return Some(format!("request {} {problem}", number + 1));
        }
    }
    let is_bound = token_type != "Bearer";
    let bound_to = first.binding_certificate().map(|binding| binding.thumbprint_sha256());
    let presented = seen.last().and_then(|request| request.client_certificate.as_deref());
    let checks = [
        (
            first.metadata().token_source == TokenSource::IdentityProvider,
            "the first token came from the cache",
        ),
        (later.metadata().token_source == TokenSource::Cache, "the second token didn't come from the cache"),
        (first.access_token() == later.access_token(), "the second token is another one"),
        (first.token_type() == token_type, "the token is of another type"),
        (bound_to.is_some() == is_bound, "the token is bound where it shouldn't, or not where it should"),
        (
            bound_to.is_none() || bound_to == presented,
            "the token is bound to another certificate than the connection",
        ),
    ];
    checks.into_iter().find(|(holds, _)| !holds).map(|(_, problem)| problem.to_owned())
}
