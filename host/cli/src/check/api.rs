//! What `symbolon check` says about APIs.

use std::fmt::Write as _;

use serde::Serialize;
use symbolon::{ApplicationOptions, DownstreamApiOptions, ProtocolScheme};

/// What would be sent where.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiReport {
    name: String,
    url: Option<String>,
    method: Option<String>,
    protocol_scheme: Option<&'static str>,
    scopes: Vec<String>,
    /// Whether the token is the application's own.
    request_app_token: bool,
    /// The section of the application that calls, where it isn't the one that is checked.
    authentication_options_name: Option<String>,
    warnings: Vec<String>,
    pub(super) problem: Option<String>,
}

/// The APIs of the configuration.
pub(super) fn reports(options: &ApplicationOptions) -> Vec<ApiReport> {
    let Some((settings, _)) = options.settings() else { return Vec::new() };
    let report = |name: &str| match settings.downstream_api(name) {
        Ok(api) => {
            let warnings = api.warnings.iter().map(ToString::to_string).collect();
            ApiReport::new(name, &DownstreamApiOptions::from(&api), warnings)
        }
        Err(error) => ApiReport { problem: Some(error.to_string()), ..ApiReport::empty(name) },
    };
    settings.downstream_api_names().map(report).collect()
}

impl ApiReport {
    fn empty(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            url: None,
            method: None,
            protocol_scheme: None,
            scopes: Vec::new(),
            request_app_token: false,
            authentication_options_name: None,
            warnings: Vec::new(),
            problem: None,
        }
    }

    fn new(name: &str, options: &DownstreamApiOptions, warnings: Vec<String>) -> Self {
        let acquire = &options.acquire_token_options;
        Self {
            url: options.api_url(),
            method: Some(options.http_method.to_string()),
            protocol_scheme: Some(options.protocol_scheme.as_str()),
            scopes: options.scopes.clone(),
            request_app_token: options.request_app_token || acquire.managed_identity.is_some(),
            authentication_options_name: acquire.authentication_options_name.clone(),
            warnings,
            problem: problem(options),
            ..Self::empty(name)
        }
    }

    pub(super) fn to_text(&self) -> String {
        let what = match (&self.url, &self.method) {
            (Some(url), Some(method)) => format!("{method} {url}"),
            _ => "can't be called".to_owned(),
        };
        let mut text = format!("API {}: {what}\n", self.name);
        if self.problem.is_none() {
            let _ = writeln!(text, "  presents {}", self.presented());
        }
        if let Some(section) = &self.authentication_options_name {
            let _ = writeln!(text, "  called by the application of the section {section}");
        }
        for line in
            self.warnings.iter().map(|warning| format!("warning: {warning}")).chain(self.problem.clone())
        {
            let _ = writeln!(text, "  {line}");
        }
        text
    }

    fn presented(&self) -> String {
        let whose = if self.request_app_token { "the application's own token" } else { "a user's token" };
        let scopes = self.scopes.join(" ");
        match self.protocol_scheme {
            Some("MTLS") => "the first usable certificate in the TLS handshake, and no token".to_owned(),
            _ if self.scopes.is_empty() => "nothing, as there are no scopes".to_owned(),
            Some("MTLS_POP") => {
                format!("{whose} for {scopes}, and in the TLS handshake the certificate that it is bound to")
            }
            _ => format!("{whose} for {scopes}"),
        }
    }
}

/// Why every call would fail.
fn problem(options: &DownstreamApiOptions) -> Option<String> {
    let for_app = options.request_app_token || options.acquire_token_options.managed_identity.is_some();
    let is_pop = options.protocol_scheme == ProtocolScheme::MtlsPop;
    if options.base_url.is_none() {
        return Some("it has no BaseUrl".to_owned());
    }
    if is_pop && !for_app {
        return Some("MTLS_POP is for the application's own tokens: RequestAppToken must be true".to_owned());
    }
    (is_pop && options.scopes.is_empty()).then(|| "MTLS_POP needs Scopes".to_owned())
}
