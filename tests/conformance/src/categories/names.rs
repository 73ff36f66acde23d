//! Authorities, clouds, regions.

use serde_json::{Map, Value, json};
use symbolon_protocol::{
    authority::{Authority, AuthorityError, AuthorityKind},
    cloud::{self, MtlsNotSupported},
    provider::Metadata,
    region::Region,
};
use symbolon_resources::configuration::ApplicationOptions;

use super::{requests::answer, scenario::Scenario, tenants::Directory};
use crate::{
    checks::Checks,
    host::{Answer, Sent, optional},
    input::{Input, Read, Uncovered},
};

pub(super) fn authority(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let Some(authority) = read(input)? else {
        checks.refused("argument", true);
        return Ok(());
    };
    checks.succeeded();
    checks.check_part("type", |expected| type_name(authority.kind(), expected));
    checks.check("canonical", authority.canonical());
    checks.check("tenant", optional(authority.tenant()));
    checks.check("token_endpoint", optional(authority.token_endpoint().as_deref()));
    checks.check("oidc_metadata_url", optional(authority.oidc_metadata_url().as_deref()));
    Ok(())
}

pub(super) fn tenant_override(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let tenant = input.text("tenant")?.unwrap_or_default();
    let forced = input.flag("forced")?;
    match read(input)? {
        Some(authority) => {
            let authority = authority.with_tenant(tenant, forced);
            checks.succeeded();
            checks.check("canonical", authority.canonical());
            checks.check("tenant", optional(authority.tenant()));
            checks.check("token_endpoint", optional(authority.token_endpoint().as_deref()));
        }
        None => checks.refused("argument", true),
    }
    Ok(())
}

pub(super) fn instance_discovery(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let region = input.text("region")?;
    let flag = |names: &[&str]| match input.any_of(names) {
        None => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(_) => Err(Uncovered("whether the authority is validated isn't true or false".into())),
    };
    let validates = flag(&["validate_authority", "validate", "with_validate_authority"])?;
    let table = table(input);
    let uri =
        input.text_of(&["discovery_uri", "custom_discovery_uri", "instance_discovery_uri", "custom_uri"])?;
    let answer = discovery_answer(input)?;
    let Some(authority) = read(input)? else {
        checks.refused("argument", true);
        return Ok(());
    };
    if table.is_some() || uri.is_some() {
        let region = region.filter(|_| table.is_some() || uri.is_some());
        if let Some(code) = conflict(&authority, table.as_deref(), uri, validates, region)? {
            checks.refused(&code, false);
            return Ok(());
        }
    }
    checks.check("url", optional(authority.instance_discovery_url(uri).as_deref()));
    let webfinger = authority.webfinger_url().map(|(url, _)| url);
    checks.check("webfinger_url", optional(webfinger.as_deref()));
    let endpoint = authority.authorization_endpoint();
    checks.check("authorization_endpoint", optional(endpoint.as_deref()));
    let is_acquired = answer.is_some() || table.is_some() || validates.is_some() || url_is_not_all(checks);
    if !is_acquired {
        checks.succeeded();
        return Ok(());
    }
    let mut scenario = Scenario::read(&Input::new(&Map::new()))?;
    // Where the request for a token goes doesn't change who is asked about the authority: a region asks nobody.
    scenario.host.application.authority = authority.canonical();
    scenario.host.application.skip_authority_validation = validates == Some(false);
    scenario.host.application.instance_metadata = table;
    scenario.host.application.instance_discovery_uri = uri.map(str::to_owned);
    scenario.host.discovery = Some(answer.unwrap_or_else(|| refusal("invalid_instance")));
    let Some(result) = scenario.acquire(checks) else { return Ok(()) };
    let is_token = |sent: &&Sent| sent.method == "POST";
    checks.check("network_calls", scenario.host.sent.iter().filter(|sent| !is_token(sent)).count());
    let token = scenario.host.sent.iter().find(is_token);
    checks.check("host", token.and_then(|sent| sent.url.split('/').nth(2)));
    match result {
        Ok(_) => checks.succeeded(),
        Err(error) => checks.refused(&error.code, false),
    }
    Ok(())
}

/// Whether something else is expected than who is asked.
fn url_is_not_all(checks: &Checks<'_>) -> bool {
    ["error_code", "network_calls", "host"].iter().any(|name| checks.expected(name).is_some())
}

/// A table of the application's own, JSON; one that knows the authority where nothing is said of it but that it is there.
fn table(input: &Input<'_>) -> Option<String> {
    let given = input.any_of(&[
        "custom_metadata",
        "custom_instance_metadata",
        "instance_metadata",
        "instance_discovery_metadata",
        "metadata_json",
        "metadata",
    ])?;
    let host = input.any("authority").and_then(Value::as_str).and_then(|url| url.split('/').nth(2));
    let own = json!({ "preferred_network": host, "preferred_cache": host, "aliases": [host] });
    match given {
        Value::Bool(false) => None,
        Value::Bool(true) => Some(json!({ "metadata": [own] }).to_string()),
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// What is answered to whoever asks about the authority: an error by its name, a status, or both in an object.
fn discovery_answer(input: &Input<'_>) -> Read<Option<Answer>> {
    let given =
        input.any_of(&["response", "discovery_response", "network_response", "answer", "discovery_error"]);
    Ok(match given {
        None => None,
        Some(Value::String(code)) if code != "timeout" => Some(refusal(code)),
        Some(Value::Object(members)) if members.contains_key("error") => Some(Answer::Response {
            status: 400,
            retry_after: None,
            body: Value::from(members.clone()).to_string(),
        }),
        Some(other) => Some(match answer(other)? {
            Answer::Token => Answer::Response { status: 200, retry_after: None, body: String::new() },
            other => other,
        }),
    })
}

fn refusal(code: &str) -> Answer {
    Answer::Response { status: 400, retry_after: None, body: json!({ "error": code }).to_string() }
}

/// Why a configuration with names of clouds of its own is refused.
fn conflict(
    authority: &Authority,
    table: Option<&str>,
    uri: Option<&str>,
    validates: Option<bool>,
    region: Option<&str>,
) -> Read<Option<String>> {
    let canonical = Directory::names(&authority.canonical());
    let mut builder = ApplicationOptions::builder("app").authority(canonical.trim_end_matches('/'));
    if let Some(table) = table {
        builder = builder.instance_metadata(table);
    }
    if let Some(uri) = uri {
        builder = builder.instance_discovery_uri(uri);
    }
    if let Some(validates) = validates {
        builder = builder.validate_authority(validates);
    }
    if let Some(region) = region {
        builder = builder.azure_region(region);
    }
    let Err(error) = builder.build() else { return Ok(None) };
    let text = error.to_string();
    let code =
        text.rsplit_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(code, _)| code.to_owned());
    code.filter(|code| code.contains('_')).map(Some).ok_or(Uncovered(text))
}

pub(super) fn cloud_metadata(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let host = input.required("host")?;
    let cloud = cloud::known_cloud(host);
    checks.check("known", cloud.is_some());
    checks.check("aliases", cloud.map_or_else(|| json!([host]), |cloud| json!(cloud.aliases)));
    checks.check("preferred_network", cloud.map_or(host, |cloud| cloud.preferred_network));
    checks.check("preferred_cache", cloud.map_or(host, |cloud| cloud.preferred_cache));
    Ok(())
}

pub(super) fn host_map(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    // The input has no tenant: whatever the expected endpoint has for one must come through unchanged.
    let endpoint = checks.expected("token_endpoint").and_then(Value::as_str).unwrap_or_default();
    let tenant = input.text("tenant")?.or_else(|| endpoint.split('/').nth(3)).unwrap_or("tenant");
    let host = input.required("host")?;
    let url = match input.text("authority_type")?.unwrap_or("aad") {
        "aad" => format!("https://{host}/{tenant}"),
        "b2c" => format!("https://{host}/tfp/{tenant}/policy"),
        "adfs" => format!("https://{host}/adfs"),
        "dsts" => format!("https://{host}/dstsv2/{tenant}"),
        other => return Err(Uncovered(format!("no authority of type {other} is made from a host"))),
    };
    let authority = Authority::parse(&url).map_err(not_understood)?;
    let mtls = input.flag("mtls")?;
    let region = match input.text("region")?.map(Region::parse).transpose() {
        Ok(region) => region,
        Err(_) => {
            checks.refused("invalid_region", false);
            return Ok(());
        }
    };
    match cloud::environment(&authority, region.as_ref(), mtls) {
        Ok(environment) => {
            checks.succeeded();
            let resolved = authority.with_host(&environment.network_host);
            checks.check("host", environment.network_host.as_str());
            checks.check("token_endpoint", optional(resolved.token_endpoint().as_deref()));
            let entry = json!({
                "aliases": environment.aliases,
                "preferred_network": environment.network_host,
                "preferred_cache": environment.preferred_cache,
            });
            checks.check_part("entry", |expected| members_of(expected, &entry));
        }
        Err(_) => checks.refused(MtlsNotSupported::CODE, false),
    }
    Ok(())
}

/// Whether the metadata of a provider may be that of the authority.
pub(super) fn oidc_issuer(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let authority = Authority::oidc(input.required("authority")?).map_err(not_understood)?;
    let document = json!({ "issuer": input.text("issuer")?, "token_endpoint": "https://idp.example/token" });
    match Metadata::parse(document.to_string().as_bytes(), &authority) {
        Ok(_) => {
            checks.succeeded();
            checks.check("valid", true);
        }
        Err(error) => {
            checks.check("valid", false);
            checks.refused(&error.code, false);
        }
    }
    Ok(())
}

pub(super) fn region_name(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let region = input.any("region").map_or(Ok(""), |region| {
        region.as_str().ok_or_else(|| Uncovered("the region is no string".into()))
    })?;
    checks.check("valid", Region::parse(region).is_ok());
    Ok(())
}

/// The authority of the input; `None` when it is refused.
fn read(input: &Input<'_>) -> Read<Option<Authority>> {
    let url = input.text("authority")?.unwrap_or_default();
    let builder = input.text_of(&["builder", "authority_type"])?.unwrap_or_default().to_ascii_lowercase();
    let is_oidc = ["oidc", "generic"].iter().any(|word| builder.contains(word));
    if !is_oidc && !builder.is_empty() && builder != "authority" && builder != "withauthority" {
        return Err(Uncovered(format!("there is no builder {builder}")));
    }
    Ok(if is_oidc { Authority::oidc(url) } else { Authority::parse(url) }.ok())
}

fn not_understood(error: AuthorityError) -> Uncovered {
    Uncovered(error.to_string())
}

/// The name of a kind, in the words of the vectors, which have several for the last.
fn type_name(kind: AuthorityKind, expected: &Value) -> Value {
    let name = match kind {
        AuthorityKind::Aad => "aad",
        AuthorityKind::B2c => "b2c",
        AuthorityKind::Ciam => "ciam",
        AuthorityKind::Adfs => "adfs",
        AuthorityKind::Dsts => "dsts",
        _ => ["generic", "generic_oidc"].into_iter().find(|name| expected == name).unwrap_or("oidc"),
    };
    name.into()
}

/// Of `value` the members that `expected` has too.
pub(super) fn members_of(expected: &Value, value: &Value) -> Value {
    let Value::Object(expected) = expected else { return value.clone() };
    expected.keys().map(|name| (name.clone(), value.get(name).cloned().unwrap_or(Value::Null))).collect()
}
