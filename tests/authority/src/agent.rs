//! Agents: an application whose only credential is a token that its blueprint got for it.
//!
//! The blueprint asks for the exchange with `fmi_path={agent}`, which gives T1. The agent authenticates with T1, asks
//! for the exchange itself, which gives T2, and gives T2 back with the grant `user_fic` for a token of its user.

use crate::{
    Registration,
    assertion::{Circumstances, Verified, times},
    hosts::Cloud,
    incoming::{Incoming, Kind},
    issue::fmi_subject,
    jwt::Jwt,
    refusal::{self, Refusal, RefusalKind},
    token::Call,
    user::Account,
};

/// The application id of the exchange's resource, the same in each cloud.
pub(crate) const EXCHANGE: &str = "fb60f99c-7a34-4190-8149-302f77469936";

/// Whether the identifier is the one of the exchange in this cloud. Clouds that none is published for take any.
pub(crate) fn is_exchange_of(cloud: &Cloud, identifier: &str) -> bool {
    let suffix = match cloud.preferred_network.as_str() {
        "login.microsoftonline.com" => "",
        "login.microsoftonline.us" => "USGov",
        "login.partner.microsoftonline.cn" => "China",
        "login.sovcloud-identity.fr" => "France",
        "login.sovcloud-identity.de" => "Germany",
        _ => return true,
    };
    let identifier = identifier.trim_end_matches('/');
    identifier.eq_ignore_ascii_case(EXCHANGE)
        || identifier.eq_ignore_ascii_case(&format!("api://AzureADTokenExchange{suffix}"))
}

/// Checks T1 as the client assertion of `agent`.
pub(crate) fn verify(
    jwt: &Jwt,
    algorithm: &str,
    agent: &Registration,
    blueprint: &str,
    at: &Circumstances<'_>,
) -> Result<Verified, Refusal> {
    let claim = |name: &str| jwt.claim_text(name).unwrap_or_default();
    let no_match = |kind: RefusalKind, what: &str, value: &str| {
        kind.because(format!(
            "No matching federated identity record found for presented assertion {what} '{value}'. The agent '{}' \
             takes the tokens that its blueprint '{blueprint}' got for it.",
            agent.client_id
        ))
    };
    if !at.issuers.iter().any(|own| own == claim("iss")) {
        return Err(no_match(refusal::FEDERATED_ISSUER, "issuer", claim("iss")));
    }
    if !at.own_key.verifies(algorithm, jwt.signing_input.as_bytes(), &jwt.signature) {
        return Err(refusal::ASSERTION_KEY
            .because("Client assertion failed signature validation with the keys of the issuer."));
    }
    if claim("aud") != EXCHANGE {
        return Err(no_match(refusal::FEDERATED_AUDIENCE, "audience", claim("aud")));
    }
    let subject = |agent_id: &str| fmi_subject(claim("tid"), blueprint, agent_id);
    let same = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
    if !same(claim("azp"), blueprint) || !same(claim("sub"), &subject(&agent.client_id)) {
        return Err(no_match(refusal::FEDERATED_SUBJECT, "subject", claim("sub")));
    }
    times(jwt, false, at.now_unix)?;
    Ok(Verified::Agent { bound_to: jwt.bound_to().map(str::to_owned) })
}

/// Checks T2: a token for the exchange that this agent got for itself.
pub(crate) fn verify_user_credential(text: &str, call: &Call<'_>, account: &Account) -> Result<(), Refusal> {
    let credential = Incoming::verify(text, call.state.key.certificate())?;
    let agent = &*call.application;
    if credential.audience != EXCHANGE {
        return Err(refusal::USER_ASSERTION_AUDIENCE.because(format!(
            "Assertion audience does not match. The audience in the assertion was '{}' and the expected audience is \
             '{EXCHANGE}'.",
            credential.audience
        )));
    }
    credential.check_time(call.now_unix)?;
    let tenant = call.tenant(&account.home)?;
    let of_agent = credential.client_id.eq_ignore_ascii_case(&agent.client_id);
    if credential.kind != Kind::Application || !of_agent || credential.tenant != tenant.id {
        return Err(refusal::GRANT_INVALID.because(format!(
            "Provided grant is invalid or malformed. The token for the exchange was issued to '{}', not to the agent \
             '{}'.",
            credential.client_id, agent.client_id
        )));
    }
    let binding = call.client.binding.as_ref().map(crate::Certificate::x5t_s256);
    if credential.bound_to.is_some() && credential.bound_to != binding {
        return Err(refusal::BINDING_MISMATCH.because(
            "The certificate of the TLS handshake does not match the one that the token for the exchange is bound to.",
        ));
    }
    Ok(())
}
