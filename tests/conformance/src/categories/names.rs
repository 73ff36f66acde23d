//! Authorities, clouds, regions.

use serde_json::{Value, json};
use symbolon_protocol::{
    authority::{Authority, AuthorityError, AuthorityKind},
    cloud::{self, MtlsNotSupported},
    provider::Metadata,
    region::Region,
};

use crate::{
    checks::Checks,
    host::optional,
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
    // Where the request for a token goes doesn't change who is asked about the authority.
    input.text("region")?;
    match read(input)? {
        Some(authority) => {
            checks.succeeded();
            checks.check("url", optional(authority.instance_discovery_url().as_deref()));
        }
        None => checks.refused("argument", true),
    }
    Ok(())
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
