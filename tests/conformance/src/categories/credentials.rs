//! Credentials as configurations describe them, and which of them is selected.

use serde_json::{Map, Value};
use symbolon_resources::credentials::{CredentialId, Purpose, SourceType, StorePath};

use crate::{
    checks::Checks,
    input::{Input, Read, Uncovered},
    runtime,
    sources::{self, Failure, Loading, Source},
};

/// Which entry of a list is selected, where each is arranged to give what is said of its loading.
pub(super) fn select_credential(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    let entries = given.objects("ClientCredentials")?.unwrap_or_default();
    let sources = entries.iter().map(source).collect::<Read<Vec<_>>>()?;
    let purpose = match when.text("protocol")?.unwrap_or("Bearer").to_ascii_uppercase().as_str() {
        "BEARER" => Purpose::Authenticate,
        "MTLS_POP" => Purpose::Bind,
        "MTLS" => Purpose::PresentToApi,
        other => return Err(Uncovered(format!("there is no scheme {other}"))),
    };
    let selection = runtime::block_on(sources::select(&sources, purpose))
        .map_err(|broken| Uncovered(format!("{broken:#}")))?;
    checks.check("observer_events", selection.events);
    checks.check("selected_index", selection.outcome.as_ref().ok().copied());
    match selection.outcome {
        Ok(_) => {
            checks.succeeded();
            checks.check("inner", Value::Null);
        }
        Err(Failure::Configuration) => checks.refused("invalid_configuration", false),
        Err(Failure::Credential(error)) => match error.identity_web_code() {
            Some(code) => {
                checks.refused(code, false);
                checks.check("inner", sources::unusable(&error));
            }
            // A client without credentials is no error before it authenticates.
            None => {
                checks.succeeded();
                checks.check("inner", Value::Null);
            }
        },
    }
    given.finish().and_then(|()| when.finish())
}

fn source(entry: &Input<'_>) -> Read<Source> {
    let source_type = source_type(entry)?;
    let loading = match entry.object("load")? {
        None => Loading::Succeeds,
        Some(load) => {
            // What MSAL's world throws, and what it remembers of that, is for the rules.
            load.any_of(&["sets_skip", "exception"]);
            let outcome = load.required("outcome")?;
            load.finish()?;
            match outcome {
                "ok" => Loading::Succeeds,
                "null" => Loading::GivesNothing,
                // There is nothing to arrange where nothing loads.
                "throw" | "none" => Loading::Fails,
                other => return Err(Uncovered(format!("no loading ends with {other}"))),
            }
        }
    };
    let secret = match entry.text("ClientSecret")? {
        None if !entry.is_null("ClientSecret") => "secret",
        secret => secret.unwrap_or_default(),
    };
    let source = Source { source_type, skip: entry.flag("Skip")?, loading, secret: secret.into() };
    entry.finish()?;
    Ok(source)
}

fn source_type(entry: &Input<'_>) -> Read<SourceType> {
    let name = entry.required("SourceType")?;
    SourceType::parse(name).ok_or_else(|| Uncovered(format!("there is no source {name}")))
}

/// The identity of a credential, with the thumbprint of its certificate if one was loaded.
pub(super) fn credential_id(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    const DATA: &str = "CustomSignedAssertionProviderData";
    let (given, when) = input.parts()?;
    let credential = given.object("credential")?.ok_or_else(|| Uncovered("there is no credential".into()))?;
    let source_type = source_type(&credential)?;
    let fields = credential.rest();
    if let Some((name, _)) = fields.iter().find(|(name, value)| {
        let is_data = *name == DATA && (value.is_object() || value.is_null());
        let is_scalar = value.is_string() || value.is_null() || value.is_boolean();
        !(is_data || is_scalar || LOADED.contains(&name.as_str()))
    }) {
        return Err(Uncovered(format!("the credential's member {name} isn't understood here")));
    }
    let field = |name: &str| Some(fields.get(name)?.as_str()?.to_owned().into());
    let data = fields.get(DATA).and_then(Value::as_object);
    let id = CredentialId::new(source_type, field, data.into_iter().flat_map(Map::keys).map(String::as_str));
    let thumbprint = thumbprint(&credential).or(thumbprint(&given));
    checks.succeeded();
    checks.check("id", id.with_thumbprint(thumbprint));
    given.finish().and_then(|()| when.finish())
}

/// Where the loaded certificate may stand.
const LOADED: [&str; 6] =
    ["Certificate", "certificate", "thumbprint", "Thumbprint", "loaded_thumbprint", "certificate_thumbprint"];

/// The thumbprint of the certificate that is loaded, as it is, or as a member of the certificate.
fn thumbprint<'a>(input: &Input<'a>) -> Option<&'a str> {
    let found = input.any_of(&LOADED)?;
    let member = || ["Thumbprint", "thumbprint"].iter().find_map(|name| found.get(*name)?.as_str());
    found.as_str().or_else(member)
}

pub(super) fn parse_store_path(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let (given, when) = input.parts()?;
    let parsed = StorePath::parse(given.text("CertificateStorePath")?.unwrap_or_default());
    checks.check("ok", parsed.is_ok());
    match parsed {
        Ok(_) => checks.succeeded(),
        Err(error) => checks.check("error", error.identity_web_code()),
    }
    given.finish().and_then(|()| when.finish())
}
