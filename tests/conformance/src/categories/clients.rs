//! Clients and their credentials, as configurations describe them.

use serde_json::{Map, Value};
use symbolon_protocol::{
    credential::{BoundUse, Certificate, CredentialErrorKind},
    request::{
        AgentFlow, AgentSubject, AssertionKind, AuthorizationCode, Flow, RefreshToken, Scheme, UserAssertion,
    },
};

use super::{
    challenges,
    scenario::{Scenario, certificate},
};
use crate::{
    checks::Checks,
    host::{Credential, optional},
    input::{Input, Read, Uncovered},
};

/// One cell of the matrix of scheme, flow and credential.
pub(super) fn authenticate(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    let mut scenario = Scenario::read(&Input::new(&Map::new()))?;
    if given.text("ProtocolScheme")?.is_some_and(|scheme| scheme.eq_ignore_ascii_case("MTLS")) {
        // Who gets no token has no flow, and what is presented is bound in any case.
        given.text("flow")?;
        given.flag("UseBoundCredential")?;
        challenges::present(given.required("credential")?, checks)?;
        return given.finish().and_then(|()| when.finish());
    }
    scenario.request.scheme =
        match given.text("ProtocolScheme")?.unwrap_or("Bearer").to_ascii_uppercase().as_str() {
            "BEARER" => Scheme::Bearer,
            "MTLS_POP" => Scheme::MtlsPop,
            other => return Err(Uncovered(format!("the scheme {other} takes no token"))),
        };
    scenario.request.flow = match given.text("flow")?.unwrap_or("app").to_ascii_lowercase().as_str() {
        "app" => scenario.request.flow,
        "user" | "obo" => {
            Flow::OnBehalfOf(UserAssertion { assertion: "the user's token".into(), kind: AssertionKind::Jwt })
        }
        "refresh" | "refresh_token" => Flow::ByRefreshToken(RefreshToken("rt".into())),
        "auth_code" | "authorization_code" => Flow::ByAuthorizationCode(AuthorizationCode {
            code: "code".into(),
            offline_access: true,
            ..AuthorizationCode::default()
        }),
        other => return Err(Uncovered(format!("nothing runs the flow {other}"))),
    };
    let is_bound = given.flag("UseBoundCredential")?;
    let binds = is_bound || scenario.request.scheme == Scheme::MtlsPop;
    scenario.host.credential = credential(given.required("credential")?, binds)?;
    scenario.host.use_bound = if is_bound { BoundUse::Required } else { BoundUse::Unspecified };
    let Some(result) = scenario.acquire(checks) else { return Ok(()) };
    let host = &scenario.host;
    match (result, host.sent.last()) {
        (Ok(token), Some(sent)) => {
            checks.succeeded();
            checks.check("when", Value::Null);
            checks.check_part("header_prefix", |expected| {
                let is_same =
                    expected.as_str().is_some_and(|prefix| prefix.eq_ignore_ascii_case(&token.token_type));
                if is_same { expected.clone() } else { token.token_type.as_str().into() }
            });
            checks.check("tls_client_cert_to_sts", sent.certificate);
            checks.check("binding_certificate_returned", token.key_id.is_some());
            checks.check("client_assertion_type", optional(sent.field("client_assertion_type")));
            for name in ["client_assertion", "client_assertion_in_body", "body_has_client_assertion"] {
                checks.check(name, sent.field("client_assertion").is_some());
            }
            checks.check("client_secret", sent.field("client_secret").is_some());
            for name in ["sts_host", "host"] {
                checks.check(name, sent.url.split('/').nth(2));
            }
        }
        (Err(error), None) => {
            let moment = if host.selections == 0 { "before credential selection" } else { "token request" };
            checks.check("when", moment);
            checks.refused(&error.code, false);
        }
        _ => checks.broken("neither an error before the request nor a request"),
    }
    given.finish().and_then(|()| when.finish())
}

/// The credential, and the certificate that it brings where it is asked to bind to one.
fn credential(name: &str, binds: bool) -> Read<Credential> {
    let assertion = |certificate| Credential::Assertion { token: "a.b.c".into(), certificate };
    let is = |word| name.contains(word);
    Ok(match name {
        "certificate" => Credential::Certificate(certificate()?),
        "none" | "no_credential" => Credential::None(CredentialErrorKind::NotConfigured),
        "custom_assertion_returning_null_bound_result" => assertion(None),
        _ if is("secret") => Credential::Secret("secret".into()),
        _ if is("assertion") && is("file") => assertion(None),
        _ if is("assertion") && (is("managed_identity") || is("oidc") || name.starts_with("mi_")) => {
            assertion(if binds { Some(certificate()?) } else { None })
        }
        other => return Err(Uncovered(format!("there is no credential {other}"))),
    })
}

/// Whether the token that one configuration got serves the other.
pub(super) fn same_client_application(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let missing = || Uncovered("there aren't two configurations".into());
    let given = input.object("given")?.ok_or_else(missing)?;
    let when = input.object("when")?.ok_or_else(missing)?;
    let mut a = configured(&given.object("a")?.ok_or_else(missing)?)?;
    let mut b = configured(&given.object("b")?.ok_or_else(missing)?)?;
    let Some(Ok(_)) = a.acquire(checks) else {
        checks.broken("the first configuration got no token");
        return Ok(());
    };
    b.host.follow(a.host);
    match b.acquire(checks) {
        Some(Ok(_)) => checks.check("same", b.host.sent.is_empty()),
        _ => checks.broken("the second configuration got no token"),
    }
    given.finish().and_then(|()| when.finish())
}

fn configured(input: &Input<'_>) -> Read<Scenario> {
    let mut scenario = Scenario::read(&Input::new(&Map::new()))?;
    scenario.host.application.authority = input.required("Authority")?.into();
    scenario.host.application.client_id = input.required("ClientId")?.into();
    scenario.host.application.azure_region = input.text("AzureRegion")?.map(str::to_owned);
    let ids = input.texts("credential_ids")?.unwrap_or_default();
    let bound = input.any("bound").and_then(Value::as_array);
    if bound.is_some_and(|bound| bound.contains(&Value::Bool(true))) {
        scenario.host.use_bound = BoundUse::Required;
    }
    scenario.host.credential = match ids.as_slice() {
        [] => Credential::Secret("secret".into()),
        // The name of the certificate stands for its thumbprint.
        ids => Credential::Certificate(Certificate { thumbprint_sha256: ids.join("-"), ..certificate()? }),
    };
    if let Some(agent) = input.text("agent")? {
        let subject = AgentSubject::App;
        scenario.request.flow = Flow::ForAgent(AgentFlow { agent: agent.into(), subject });
    }
    if input.flag("token_binding")? {
        scenario.request.scheme = Scheme::MtlsPop;
    }
    input.finish()?;
    Ok(scenario)
}

/// The query of a token request whose parameters come from the application and from the call. Names are compared as they
/// are merged: without regard to case.
pub(super) fn merge_extra_query(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    let mut scenario = Scenario::read(&Input::new(&Map::new()))?;
    let parameters = &mut scenario.request.options.extra_query_parameters;
    parameters.extend(given.pairs("app")?.unwrap_or_default());
    parameters.extend(given.pairs("call")?.unwrap_or_default());
    let result = scenario.acquire(checks);
    match (result, scenario.host.sent.last()) {
        (Some(Ok(_)), Some(sent)) => {
            let query = sent.url.split_once('?').map_or("", |(_, query)| query);
            let sent: Vec<(String, String)> =
                url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
            checks.succeeded();
            checks.check_part("merged", |expected| named_alike(expected, &sent));
            let kept = scenario.host.cache.access_tokens().next().map(|item| item.components.iter().count());
            checks.check("all_in_cache_key", kept == Some(sent.len()));
        }
        (Some(Err(error)), _) => checks.refused(&error.code, false),
        _ => checks.broken("no request was sent"),
    }
    given.finish().and_then(|()| when.finish())
}

/// The pairs, under the names that are expected for them. Nothing at all may be expected as nothing.
fn named_alike(expected: &Value, pairs: &[(String, String)]) -> Value {
    if pairs.is_empty() && expected.is_null() {
        return Value::Null;
    }
    let names: Vec<&String> = expected.as_object().into_iter().flat_map(Map::keys).collect();
    let named = |(name, value): &(String, String)| {
        let expected = names.iter().find(|other| other.eq_ignore_ascii_case(name));
        (expected.map_or(name, |name| name).clone(), Value::from(value.as_str()))
    };
    pairs.iter().map(named).collect()
}
