//! Tokens of managed identities.

use serde_json::json;
use symbolon_protocol::{
    credential::CredentialErrorKind,
    error::Error,
    request::{
        AccessToken, Application, Flow, ManagedIdentityFlow, ManagedIdentityId, Options, Request, Scheme,
    },
};
use url::Url;

use super::requests::{refused, values};
use crate::{
    checks::Checks,
    host::{Answer, Credential, Host, Sent},
    input::{Input, Read, Uncovered},
};

pub(super) fn managed_identity(input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    let application = Application {
        authority: "https://login.microsoftonline.com/common".into(),
        client_capabilities: input.texts("capabilities")?.unwrap_or_default(),
        ..Application::default()
    };
    let mut host = Host::new(application, Credential::None(CredentialErrorKind::NotConfigured));
    let identity = identity(input)?;
    let mut request = request(identity);
    match (input.pairs("env")?, input.text("source")?) {
        (Some(variables), None) => (host.variables, host.patience_ms) = (variables, PATIENCE_MS),
        (None, source) => asks(&mut host, &mut request, source.unwrap_or("imds"))?,
        _ => return Err(Uncovered("there are both an environment and a source".into())),
    }
    if let Some(resource) = input.text_of(&["resource", "scope"])? {
        request.scopes = vec![resource.into()];
    }
    let expiry = ["expires_on", "expires_in"].map(|name| (name, input.any(name)));
    if expiry.iter().any(|(_, value)| value.is_some()) {
        let mut body = json!({ "access_token": "token", "token_type": "Bearer" });
        for (name, value) in expiry {
            body[name] = value.cloned().unwrap_or_default();
        }
        host.answers.push_back(Answer::Response { status: 200, retry_after: None, body: body.to_string() });
    }
    if let Some(issued) = input.object("issued")? {
        request.scheme = Scheme::MtlsPop;
        host.answers.extend(issuance(&issued)?);
    }
    let now = i64::try_from(host.now / 1000).unwrap_or_default();
    match host.acquire(request) {
        Ok(result) => check(&result, host.sent.last(), now, checks),
        Err(broken) => checks.broken(&format!("{broken:#}")),
    }
    Ok(())
}

/// Has the host run where this source gives tokens, and the request ask that.
pub(super) fn asks(host: &mut Host, request: &mut Request, source: &str) -> Read<()> {
    let variables: &[(&str, &str)] = match source {
        "imds" | "vm" => &[],
        "app_service" => {
            &[("IDENTITY_ENDPOINT", "http://127.0.0.1:41741/msi/token"), ("IDENTITY_HEADER", "header")]
        }
        "service_fabric" => &[
            ("IDENTITY_ENDPOINT", "https://localhost:2377/metadata/identity/oauth2/token"),
            ("IDENTITY_HEADER", "header"),
            ("IDENTITY_SERVER_THUMBPRINT", "AB"),
        ],
        "azure_arc" | "arc" => &[
            ("IDENTITY_ENDPOINT", "http://localhost:40342/metadata/identity/oauth2/token"),
            ("IMDS_ENDPOINT", "http://localhost:40342"),
        ],
        "cloud_shell" => &[("MSI_ENDPOINT", "http://localhost:50342/oauth2/token")],
        "machine_learning" | "azure_ml" | "ml" => &[
            ("MSI_ENDPOINT", "http://localhost:7071/msi/token"),
            ("MSI_SECRET", "secret"),
            ("DEFAULT_IDENTITY_CLIENT_ID", "default"),
        ],
        other => return Err(Uncovered(format!("there is no source {other}"))),
    };
    host.variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    host.patience_ms = PATIENCE_MS;
    if !matches!(request.flow, Flow::ForManagedIdentity(_)) {
        *request = self::request(ManagedIdentityId::SystemAssigned);
    }
    Ok(())
}

/// The answers by which the platform issues a certificate.
fn issuance(issued: &Input<'_>) -> Read<[Answer; 2]> {
    let client_id = issued.required("client_id")?;
    let tenant_id = issued.required("tenant_id")?;
    let endpoint = issued.required("mtls_authentication_endpoint")?;
    issued.finish()?;
    let metadata = json!({ "clientId": client_id, "tenantId": tenant_id, "cuId": { "vmId": "1" } });
    let certificate = json!({
        "client_id": client_id,
        "tenant_id": tenant_id,
        "certificate": "MAA=",
        "mtls_authentication_endpoint": endpoint,
    });
    Ok([metadata, certificate].map(|body| Answer::Response {
        status: 200,
        retry_after: None,
        body: body.to_string(),
    }))
}

fn request(identity: ManagedIdentityId) -> Request {
    Request {
        flow: Flow::ForManagedIdentity(ManagedIdentityFlow { identity }),
        scopes: vec!["https://management.azure.com".into()],
        scheme: Scheme::Bearer,
        options: Options::default(),
    }
}

fn identity(input: &Input<'_>) -> Read<ManagedIdentityId> {
    let Some(assigned) = input.object("user_assigned")? else { return Ok(ManagedIdentityId::SystemAssigned) };
    let id = |name: &str| Ok(assigned.text(name)?.map(str::to_owned));
    let identity = match (id("client_id")?, id("resource_id")?, id("object_id")?) {
        (Some(id), None, None) => ManagedIdentityId::ClientId(id),
        (None, Some(id), None) => ManagedIdentityId::ResourceId(id),
        (None, None, Some(id)) => ManagedIdentityId::ObjectId(id),
        _ => return Err(Uncovered("the identity has no id or several".into())),
    };
    assigned.finish()?;
    Ok(identity)
}

fn check(result: &Result<AccessToken, Error>, sent: Option<&Sent>, now: i64, checks: &mut Checks<'_>) {
    match result {
        Ok(token) => {
            checks.succeeded();
            let after = |time: u64| i64::try_from(time).unwrap_or_default() - now;
            checks.check("expires_in", after(token.expires_on));
            checks.check("refresh_in", token.refresh_on.map(after));
        }
        Err(error) => refused(error, checks),
    }
    let Some(sent) = sent else { return };
    let query: Vec<(String, String)> =
        Url::parse(&sent.url).map(|url| url.query_pairs().into_owned().collect()).unwrap_or_default();
    let parameter =
        |name: &str| query.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
    checks.check("method", sent.method);
    checks.check("url", sent.url.as_str());
    checks.check("url_base", sent.url.split('?').next());
    checks.check_part("query", |expected| values(expected, parameter));
    checks.check_part("headers", |expected| values(expected, |name| sent.header(name)));
    checks.check_part("body", |expected| values(expected, |name| sent.field(name)));
    checks.check("tls_client_cert", sent.certificate);
}

/// How long an acquisition for a managed identity may take.
const PATIENCE_MS: u64 = 90_000;
