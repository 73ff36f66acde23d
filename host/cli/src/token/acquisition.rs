//! One acquisition, as the flags or a step of a file describe it.

use clap::{Args, ValueEnum};
use serde::{Deserialize, Deserializer};
use symbolon::{Application, AuthenticationResult};
use uuid::Uuid;

/// What to acquire. Flags and the members of a step are the same thing.
#[derive(Args, Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct AcquisitionArguments {
    /// What the token is for, such as `https://graph.microsoft.com/.default`. Repeat it for more.
    #[arg(long, value_name = "SCOPE")]
    #[serde(deserialize_with = "one_or_many")]
    scope: Vec<String>,

    /// `bearer`, the default, or `mtls-pop`: a token bound to the application's certificate.
    #[arg(long, value_enum, value_name = "SCHEME", hide_possible_values = true)]
    scheme: Option<Scheme>,

    /// How the token is acquired. The default is `for-client`.
    #[arg(long, value_enum, value_name = "FLOW")]
    flow: Option<Flow>,

    /// Asks for a token for this path below the application.
    #[arg(long, value_name = "PATH")]
    fmi_path: Option<String>,

    /// Asks another directory than the configured one: a tenant id or a domain name.
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,

    /// The claims of a claims challenge, JSON.
    #[arg(long, value_name = "JSON")]
    claims: Option<String>,

    /// Takes no token from the cache.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    force_refresh: Option<bool>,

    /// The id that correlates the request with the authority's logs, a UUID. The default is a random one.
    #[arg(long, value_name = "UUID")]
    correlation_id: Option<Uuid>,
}

/// How a token is used.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scheme {
    /// Whoever holds the token may use it.
    Bearer,
    /// Only who presents the certificate may use the token.
    MtlsPop,
}

/// How a token is acquired.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Flow {
    /// For the application itself, by its own credential
    ForClient,
    /// Not supported yet
    OnBehalfOf,
    /// Not supported yet
    LongRunning,
    /// Not supported yet
    Silent,
    /// Not supported yet
    ByRefreshToken,
    /// Not supported yet
    ByAuthorizationCode,
    /// Not supported yet
    ByUsernamePassword,
    /// Not supported yet
    ByUserFederatedIdentityCredential,
    /// Not supported yet
    ForAgent,
    /// Not supported yet
    ForManagedIdentity,
}

impl AcquisitionArguments {
    /// These where they say something, `defaults` otherwise.
    pub(super) fn or(self, defaults: &Self) -> Self {
        let defaults = defaults.clone();
        Self {
            scope: if self.scope.is_empty() { defaults.scope } else { self.scope },
            scheme: self.scheme.or(defaults.scheme),
            flow: self.flow.or(defaults.flow),
            fmi_path: self.fmi_path.or(defaults.fmi_path),
            tenant: self.tenant.or(defaults.tenant),
            claims: self.claims.or(defaults.claims),
            force_refresh: self.force_refresh.or(defaults.force_refresh),
            correlation_id: self.correlation_id.or(defaults.correlation_id),
        }
    }

    /// Says what is missing or isn't supported.
    pub(super) fn check(&self) -> Result<(), String> {
        let flow = self.flow.unwrap_or(Flow::ForClient);
        if flow != Flow::ForClient {
            let name = flow.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
            return Err(format!("the flow `{name}` is not supported yet; supported: `for-client`"));
        }
        if self.scope.is_empty() {
            return Err(
                "no scope; accepted: at least one, such as --scope https://graph.microsoft.com/.default"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// Acquires the token.
    pub(super) async fn acquire(&self, application: &Application) -> symbolon::Result<AuthenticationResult> {
        let mut request = application
            .acquire_token_for_client(self.scope.iter().map(String::as_str))
            .with_force_refresh(self.force_refresh.unwrap_or(false));
        if self.scheme == Some(Scheme::MtlsPop) {
            request = request.with_mtls_proof_of_possession();
        }
        if let Some(path) = &self.fmi_path {
            request = request.with_fmi_path(path);
        }
        if let Some(tenant) = &self.tenant {
            request = request.with_tenant_id(tenant);
        }
        if let Some(claims) = &self.claims {
            request = request.with_claims(claims);
        }
        if let Some(id) = self.correlation_id {
            request = request.with_correlation_id(id);
        }
        request.await
    }
}

/// A scope, or a list of scopes.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a scope or a list of scopes")]
    enum Scopes {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Scopes::deserialize(deserializer)? {
        Scopes::One(scope) => vec![scope],
        Scopes::Many(scopes) => scopes,
    })
}
