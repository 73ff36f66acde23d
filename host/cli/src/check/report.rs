//! What `symbolon check` says, in words and as JSON. Holds no secret.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use symbolon::{ApplicationOptions, AuthenticationResult, CredentialReport};
use symbolon_protocol::authority::Authority;
use symbolon_protocol::cloud;
use symbolon_protocol::region::Region;
use symbolon_resources::configuration::ValueOrigin;
use symbolon_resources::credentials::{CertificateReport, ComponentFinding, CredentialStatus, SourceType};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::api::{self, ApiReport};
use super::token_cache::TokenCacheReport;
use crate::arguments::ConfigurationArguments;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CheckReport {
    configuration: String,
    client_id: String,
    authority: String,
    azure_region: Option<String>,
    token_endpoints: TokenEndpoints,
    /// The flows that are bound to the certificate beside those that always are.
    bound_flows: Vec<&'static str>,
    /// What agents exchange tokens for; nothing where it is what the cloud says.
    token_exchange_url: Option<String>,
    /// Where connections go instead, by `host[:port]`.
    connect_to: BTreeMap<String, String>,
    trusted_roots: Vec<String>,
    credentials: Vec<Credential>,
    downstream_apis: Vec<ApiReport>,
    /// The second level; nothing where there is none.
    pub(super) token_cache: Option<TokenCacheReport>,
    values: Vec<Value>,
    warnings: Vec<String>,
    /// Nothing without `--online`.
    pub(super) online: Option<OnlineReport>,
}

/// Where tokens are asked for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TokenEndpoints {
    bearer: Endpoint,
    /// With the certificate presented in the TLS handshake.
    bound: Endpoint,
}

/// A URL, or why there is none.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    url: Option<String>,
    problem: Option<String>,
    /// Whether nobody has seen the host live: its name was made from the authority's.
    derived: bool,
}

/// A value of the configuration, and where it comes from.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Value {
    key: String,
    /// Nothing where it is a secret, or may hold one.
    value: Option<String>,
    /// A file, an environment variable, or `default`.
    origin: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Credential {
    name: String,
    place: String,
    source: String,
    /// Whether it can be used, as far as that is known.
    usable: bool,
    /// Whether somebody else would have to be asked, which only `--online` does.
    untried: bool,
    /// Whether it is the one that is used, or tried first.
    selected: bool,
    skipped: bool,
    problem: Option<String>,
    /// Whether connections to the authority are bound to it; nothing when the configuration doesn't say.
    use_bound_credential: Option<bool>,
    prefer_bound_credential: bool,
    /// Whether connections are bound to it, and why.
    bound: &'static str,
    /// RFC 3339: the end of the certificate or the assertion, where it has one.
    expires_on: Option<String>,
    certificate: Option<Certificate>,
    /// What a component must do that has it.
    component: Vec<Finding>,
}

/// Something that a component must do, tried out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Finding {
    rule: String,
    /// What it does instead, if it does.
    broken: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Certificate {
    subject: String,
    #[serde(rename = "x5t")]
    thumbprint_sha1: String,
    #[serde(rename = "x5t#S256")]
    thumbprint_sha256: String,
    /// RFC 3339.
    not_before: String,
    /// RFC 3339.
    not_after: String,
    days_left: u64,
    chain_length: usize,
    algorithms: Vec<&'static str>,
}

/// What came of the attempt to acquire a token.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OnlineReport {
    ok: bool,
    token_type: Option<String>,
    /// RFC 3339.
    expires_on: Option<String>,
    token_endpoint: Option<String>,
    error: Option<String>,
}

impl CheckReport {
    pub(super) fn new(
        arguments: &ConfigurationArguments,
        options: &ApplicationOptions,
        credentials: &[CredentialReport],
        now_unix: u64,
    ) -> Self {
        let mut warnings: Vec<_> = options.warnings().iter().map(ToString::to_string).collect();
        warnings.extend(credentials.iter().filter_map(|credential| expires_soon(credential, now_unix)));
        let may_serve = |credential: &CredentialReport| {
            matches!(credential.status, CredentialStatus::Usable { .. } | CredentialStatus::Untried)
        };
        let first = credentials.iter().position(may_serve);
        let credentials = credentials
            .iter()
            .enumerate()
            .map(|(index, credential)| Credential::new(credential, first == Some(index), now_unix));
        let values = options.origins().iter().map(Value::new);
        Self {
            configuration: arguments.config.display().to_string(),
            client_id: options.client_id().to_owned(),
            authority: options.authority().to_owned(),
            azure_region: options.azure_region().map(str::to_owned),
            token_endpoints: TokenEndpoints {
                bearer: Endpoint::new(options, false),
                bound: Endpoint::new(options, true),
            },
            bound_flows: options.bound_flows().iter().map(|flow| flow.as_str()).collect(),
            token_exchange_url: options.token_exchange_url().map(str::to_owned),
            connect_to: options.transport().connect_to.rules().collect(),
            trusted_roots: options
                .transport()
                .trusted_roots
                .iter()
                .map(|file| file.display().to_string())
                .collect(),
            credentials: credentials.collect(),
            downstream_apis: api::reports(options),
            token_cache: None,
            values: values.collect(),
            warnings,
            online: None,
        }
    }

    pub(super) fn has_usable_credential(&self) -> bool {
        self.credentials.iter().any(|credential| credential.usable || credential.untried)
    }

    pub(super) fn has_broken_component(&self) -> bool {
        self.credentials.iter().flat_map(|credential| &credential.component).any(|rule| rule.broken.is_some())
    }

    /// Whether every API can be called, as far as its configuration goes.
    pub(super) fn apis_are_sound(&self) -> bool {
        self.downstream_apis.iter().all(|api| api.problem.is_none())
    }

    pub(super) fn to_text(&self) -> String {
        let mut text = format!("{}: client {} at {}\n", self.configuration, self.client_id, self.authority);
        if let Some(region) = &self.azure_region {
            let _ = writeln!(text, "region: {region}");
        }
        let _ = writeln!(text, "token endpoint: {}", self.token_endpoints.bearer.to_text());
        let _ = writeln!(text, "token endpoint with mutual TLS: {}", self.token_endpoints.bound.to_text());
        if !self.bound_flows.is_empty() {
            let _ = writeln!(
                text,
                "bound to the certificate beside the usual flows: {}",
                self.bound_flows.join(", ")
            );
        }
        if let Some(url) = &self.token_exchange_url {
            let _ = writeln!(text, "audience of the tokens that agents exchange: {url}");
        }
        for (from, to) in &self.connect_to {
            let _ = writeln!(text, "connects to {to} for {from}");
        }
        for file in &self.trusted_roots {
            let _ = writeln!(text, "trusted beside the platform's roots: {file}");
        }
        for credential in &self.credentials {
            text.push_str(&credential.to_text());
        }
        for api in &self.downstream_apis {
            text.push_str(&api.to_text());
        }
        if let Some(token_cache) = &self.token_cache {
            text.push_str(&token_cache.to_text());
        }
        text.push_str("values, and where they come from:\n");
        for value in &self.values {
            let _ = writeln!(text, "  {}", value.to_text());
        }
        for warning in &self.warnings {
            let _ = writeln!(text, "warning: {warning}");
        }
        if let Some(online) = &self.online {
            let _ = writeln!(text, "online: {}", online.to_text());
        }
        text.trim_end().to_owned()
    }
}

impl Endpoint {
    /// Where the protocol sends token requests; it has the same functions in the sandbox.
    fn new(options: &ApplicationOptions, mtls: bool) -> Self {
        let url = Self::url(options, mtls);
        let host = url.as_deref().unwrap_or_default().split('/').nth(2).unwrap_or_default();
        let derived = mtls && cloud::is_derived_mtls_host(host);
        Self { problem: url.as_ref().err().cloned(), url: url.ok(), derived }
    }

    fn url(options: &ApplicationOptions, mtls: bool) -> Result<String, String> {
        let authority = Authority::parse(options.authority()).map_err(|error| error.to_string())?;
        // One that is detected isn't known before there are requests.
        let region = options.azure_region().filter(|_| !options.detects_region());
        let region = region.map(Region::parse).transpose().map_err(|error| error.to_string())?;
        let environment =
            cloud::environment(&authority, region.as_ref(), mtls).map_err(|error| error.to_string())?;
        let endpoint = authority.with_host(&environment.network_host).token_endpoint();
        endpoint.ok_or_else(|| "only the authority's metadata says it".to_owned())
    }

    fn to_text(&self) -> String {
        let text = self.url.as_deref().or(self.problem.as_deref()).unwrap_or_default();
        let note = if self.derived { " (a derived name: nobody has seen this host in service)" } else { "" };
        format!("{text}{note}")
    }
}

impl Value {
    fn new(value: &ValueOrigin) -> Self {
        Self { key: value.key.clone(), value: value.value.clone(), origin: value.place.source() }
    }

    fn to_text(&self) -> String {
        let value = self.value.as_deref().unwrap_or("(not shown)");
        format!("{} = {value} ({})", self.key, self.origin)
    }
}

impl Credential {
    fn new(report: &CredentialReport, selected: bool, now_unix: u64) -> Self {
        let (certificate, problem) = match &report.status {
            CredentialStatus::Usable { certificate, .. } => {
                (certificate.as_ref().map(|found| Certificate::new(found, now_unix)), None)
            }
            CredentialStatus::Unusable(reason) => (None, Some(reason.to_string())),
            _ => (None, None),
        };
        let expires_on = match &report.status {
            CredentialStatus::Usable { expires_on_unix, .. } => expires_on_unix.map(rfc3339),
            _ => None,
        };
        let expires_on = expires_on.or(certificate.as_ref().map(|found| found.not_after.clone()));
        Self {
            name: report.name.clone(),
            place: report.place.clone(),
            source: report.source.clone(),
            usable: matches!(report.status, CredentialStatus::Usable { .. }),
            untried: matches!(report.status, CredentialStatus::Untried),
            selected,
            skipped: matches!(report.status, CredentialStatus::Skipped),
            problem,
            use_bound_credential: report.use_bound,
            prefer_bound_credential: report.prefers_bound,
            bound: bound(report),
            expires_on,
            certificate,
            component: report.component.iter().map(Finding::new).collect(),
        }
    }

    fn to_text(&self) -> String {
        let status = match (self.selected, self.usable, self.untried) {
            (true, true, _) => "usable, and the one that is used",
            (_, true, _) => "usable",
            (true, _, true) => "the one that is tried first; --online tries it now",
            (_, _, true) => "not tried; --online tries it",
            _ if self.skipped => "skipped",
            _ => "NOT usable",
        };
        let mut text = format!("{} ({}): {status}\n", self.place, self.source);
        if let Some(problem) = &self.problem {
            let _ = writeln!(text, "  {problem}");
        }
        if self.usable || self.untried {
            let _ = writeln!(text, "  bound: {}", self.bound);
        }
        match (&self.certificate, &self.expires_on) {
            (Some(certificate), _) => text.push_str(&certificate.to_text()),
            (None, Some(expires_on)) => _ = writeln!(text, "  expires: {expires_on}"),
            (None, None) => {}
        }
        for Finding { rule, broken } in &self.component {
            let _ = match broken {
                None => writeln!(text, "  the component {rule}"),
                Some(found) => writeln!(text, "  BROKEN: a component {rule}; {found}"),
            };
        }
        text
    }
}

impl Finding {
    fn new(finding: &ComponentFinding) -> Self {
        Self { rule: finding.rule.clone(), broken: finding.broken.clone() }
    }
}

/// Whether connections are bound to the credential, and why.
fn bound(report: &CredentialReport) -> &'static str {
    match (report.use_bound, report.source_type) {
        (_, SourceType::ClientSecret) => "no; a secret can't be presented in a TLS handshake",
        (_, SourceType::SignedAssertionFilePath) => "no; an assertion in a file is bound to no certificate",
        (Some(true), _) => "yes, presented in the TLS handshake with the authority (UseBoundCredential)",
        _ if report.prefers_bound => "where the flow and the authority can (PreferBoundCredential)",
        (Some(false), _) => "no (UseBoundCredential is false)",
        (_, SourceType::CustomSignedAssertion) if report.component.is_empty() => {
            "where the assertion brings a certificate; UseBoundCredential insists on it"
        }
        _ => "no; UseBoundCredential or PreferBoundCredential binds it",
    }
}

impl Certificate {
    fn new(report: &CertificateReport, now_unix: u64) -> Self {
        Self {
            subject: report.subject.clone(),
            thumbprint_sha1: report.thumbprint_sha1.clone(),
            thumbprint_sha256: report.thumbprint_sha256.clone(),
            not_before: rfc3339(report.not_before_unix),
            not_after: rfc3339(report.not_after_unix),
            days_left: report.not_after_unix.saturating_sub(now_unix) / DAY,
            chain_length: report.chain_length,
            algorithms: report.algorithms.iter().map(|algorithm| algorithm.as_str()).collect(),
        }
    }

    fn to_text(&self) -> String {
        let algorithms = match self.algorithms.is_empty() {
            true => "nothing; the key serves for TLS only".to_owned(),
            false => self.algorithms.join(", "),
        };
        format!(
            "  certificate {}, valid from {} to {} ({} days left)\n  x5t {}, x5t#S256 {}\n  {} in the chain; signs {algorithms}\n",
            self.subject,
            self.not_before,
            self.not_after,
            self.days_left,
            self.thumbprint_sha1,
            self.thumbprint_sha256,
            self.chain_length,
        )
    }
}

impl OnlineReport {
    pub(super) fn acquired(token: &AuthenticationResult) -> Self {
        Self {
            ok: true,
            token_type: Some(token.token_type().to_owned()),
            expires_on: Some(rfc3339(token.expires_on_unix())),
            token_endpoint: token.metadata().token_endpoint.as_deref().map(str::to_owned),
            error: None,
        }
    }

    pub(super) fn failed(error: &symbolon::Error) -> Self {
        Self {
            ok: false,
            token_type: None,
            expires_on: None,
            token_endpoint: None,
            error: Some(error.to_string()),
        }
    }

    fn to_text(&self) -> String {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        match self.ok {
            true => format!(
                "a {} token from {}, until {}",
                text(&self.token_type),
                text(&self.token_endpoint),
                text(&self.expires_on)
            ),
            false => format!("FAILED: {}", text(&self.error)),
        }
    }
}

fn expires_soon(credential: &CredentialReport, now_unix: u64) -> Option<String> {
    let CredentialStatus::Usable { certificate: Some(certificate), .. } = &credential.status else {
        return None;
    };
    let left = certificate.not_after_unix.saturating_sub(now_unix);
    (left < SOON).then(|| {
        format!("{}: the certificate expires at {}", credential.place, rfc3339(certificate.not_after_unix))
    })
}

fn rfc3339(unix: u64) -> String {
    let time = i64::try_from(unix).ok().and_then(|unix| OffsetDateTime::from_unix_timestamp(unix).ok());
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| format!("{unix} s after 1970"))
}

const DAY: u64 = 24 * 60 * 60;

/// A month in seconds: time enough to renew a certificate.
const SOON: u64 = 30 * DAY;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use symbolon::ManualClock;
    use symbolon_resources::credentials::CredentialProvider;

    use super::*;

    fn report(azure_ad: serde_json::Value) -> CheckReport {
        report_with(azure_ad, json!({}))
    }

    fn report_with(azure_ad: serde_json::Value, symbolon: serde_json::Value) -> CheckReport {
        let settings = json!({ "AzureAd": azure_ad, "Symbolon": symbolon });
        let options = ApplicationOptions::from_value(settings).unwrap();
        let clock = Arc::new(ManualClock::new(1_700_000_000_000));
        let provider = CredentialProvider::new(&options, clock);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let credentials = runtime.block_on(provider.check());
        let arguments = ConfigurationArguments { config: "app.json".into(), section: None };
        CheckReport::new(&arguments, &options, &credentials, 1_700_000_000)
    }

    #[test]
    fn says_what_would_be_sent_where_and_with_what() {
        let report = report(json!({
            "TenantId": "contoso.com", "ClientId": "id", "AzureRegion": "westus2",
            "ClientCredentials": [
                { "SourceType": "Path", "CertificateDiskPath": "/nowhere/client.pem" },
                { "SourceType": "ClientSecret", "ClientSecret": "canary-secret", "Skip": true },
                { "SourceType": "ClientSecret", "ClientSecret": "canary-secret" },
            ],
        }));
        assert!(report.has_usable_credential());
        assert_eq!(
            report.to_text(),
            "app.json: client id at https://login.microsoftonline.com/contoso.com\n\
             region: westus2\n\
             token endpoint: https://westus2.login.microsoft.com/contoso.com/oauth2/v2.0/token\n\
             token endpoint with mutual TLS: https://westus2.mtlsauth.microsoft.com/contoso.com/oauth2/v2.0/token\n\
             the given configuration: AzureAd:ClientCredentials:0 (Path /nowhere/client.pem): NOT usable\n\
             \x20 found no file there; accepted: a PEM or PKCS#12 (PFX) file\n\
             the given configuration: AzureAd:ClientCredentials:1 (ClientSecret): skipped\n\
             the given configuration: AzureAd:ClientCredentials:2 (ClientSecret): usable, and the one that is used\n\
             \x20 bound: no; a secret can't be presented in a TLS handshake\n\
             values, and where they come from:\n\
             \x20 AzureAd:ClientId = id (the given configuration)\n\
             \x20 AzureAd:Instance = https://login.microsoftonline.com (default)\n\
             \x20 AzureAd:TenantId = contoso.com (the given configuration)\n\
             \x20 AzureAd:AzureRegion = westus2 (the given configuration)\n\
             \x20 AzureAd:SendX5C = false (default)\n\
             \x20 AzureAd:ClientCredentials:0:CertificateDiskPath = /nowhere/client.pem (the given configuration)\n\
             \x20 AzureAd:ClientCredentials:0:SourceType = Path (the given configuration)\n\
             \x20 AzureAd:ClientCredentials:0:UseBoundCredential = not set (default)\n\
             \x20 AzureAd:ClientCredentials:1:ClientSecret = (not shown) (the given configuration)\n\
             \x20 AzureAd:ClientCredentials:1:Skip = true (the given configuration)\n\
             \x20 AzureAd:ClientCredentials:1:SourceType = ClientSecret (the given configuration)\n\
             \x20 AzureAd:ClientCredentials:2:ClientSecret = (not shown) (the given configuration)\n\
             \x20 AzureAd:ClientCredentials:2:SourceType = ClientSecret (the given configuration)"
        );
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["tokenEndpoints"]["bearer"]["problem"], json!(null));
        assert_eq!(json["credentials"][2]["selected"], json!(true));
        assert!(!json.to_string().contains("canary"));
    }

    #[test]
    fn says_what_is_set_for_this_host() {
        let azure_ad = json!({
            "TenantId": "contoso.com", "ClientId": "id",
            "ClientCredentials": [{ "SourceType": "ClientSecret", "ClientSecret": "s" }],
        });
        let report = report_with(
            azure_ad,
            json!({
                "BoundFlows": ["for-agent", "by-username-password"], "TokenExchangeUrl": "api://AzureADTokenExchangeUSGov",
                "ConnectTo": { "*.microsoftonline.com": "127.0.0.1:8443", "mtlsauth.microsoft.com:443": "[::1]" },
            }),
        );
        let text = report.to_text();
        let lines: Vec<_> = text.lines().skip(3).collect();
        assert_eq!(
            lines[..4],
            [
                "bound to the certificate beside the usual flows: by-username-password, for-agent",
                "audience of the tokens that agents exchange: api://AzureADTokenExchangeUSGov",
                "connects to 127.0.0.1:8443 for *.microsoftonline.com",
                "connects to [::1] for mtlsauth.microsoft.com:443",
            ]
        );
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["boundFlows"], json!(["by-username-password", "for-agent"]));
        assert_eq!(json["connectTo"]["*.microsoftonline.com"], json!("127.0.0.1:8443"));
    }

    #[test]
    fn says_where_mutual_tls_is_known_to_be_and_where_it_is_not() {
        for (instance, expected) in [
            ("https://login.windows.net", "https://mtlsauth.microsoft.com/contoso.com/oauth2/v2.0/token"),
            (
                "https://login.microsoftonline.us",
                "https://mtlsauth.microsoftonline.us/contoso.com/oauth2/v2.0/token",
            ),
            (
                "https://login.sovcloud-identity.de",
                "https://mtlsauth.sovcloud-identity.de/contoso.com/oauth2/v2.0/token (a derived name: nobody has seen this \
                 host in service)",
            ),
            (
                "https://login.chinacloudapi.cn",
                "login.chinacloudapi.cn takes no client certificates; use login.partner.microsoftonline.cn",
            ),
        ] {
            let report = report(json!({
                "Instance": instance, "TenantId": "contoso.com", "ClientId": "id", "AzureRegion": "TryAutoDetect",
                "ClientCredentials": [{ "SourceType": "ClientSecret", "ClientSecret": "s", "Skip": true }],
            }));
            assert!(!report.has_usable_credential());
            let line = format!("token endpoint with mutual TLS: {expected}\n");
            assert!(report.to_text().contains(&line), "{}", report.to_text());
            let json = serde_json::to_value(&report).unwrap();
            assert_eq!(json["tokenEndpoints"]["bound"]["derived"], json!(expected.contains("derived")));
        }
    }

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(rfc3339(1_700_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(rfc3339(u64::MAX), "18446744073709551615 s after 1970");
    }
}
