//! The JSON form of a token, a stable contract. Absent values are `null`.

use std::time::Duration;

use serde::Serialize;
use symbolon::{Account, AuthenticationResult};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokenOutput<'a> {
    access_token: &'a str,
    token_type: &'a str,
    /// Seconds since 1970-01-01T00:00:00Z.
    expires_on: u64,
    scopes: Vec<&'a str>,
    tenant_id: Option<&'a str>,
    correlation_id: String,
    /// A token for the application itself belongs to no account.
    account: Option<AccountOutput>,
    long_running_session_key: Option<&'a str>,
    /// Where one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    spa_code: Option<&'a str>,
    /// Where the authority sent one.
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<&'a str>,
    binding_certificate: Option<BindingCertificateOutput<'a>>,
    metadata: MetadataOutput<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AccountOutput {
    home_account_id: String,
    username: Option<String>,
}

impl From<Account> for AccountOutput {
    fn from(account: Account) -> Self {
        let username = Some(account.username).filter(|name| !name.is_empty());
        Self { home_account_id: account.home_account_id, username }
    }
}

#[derive(Debug, Serialize)]
struct BindingCertificateOutput<'a> {
    #[serde(rename = "x5t#S256")]
    thumbprint_sha256: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct MetadataOutput<'a> {
    token_source: &'static str,
    token_endpoint: Option<&'a str>,
    cache_refresh_reason: &'static str,
    region_used: Option<&'a str>,
    duration_total_ms: u64,
    duration_in_http_ms: u64,
}

impl<'a> From<&'a AuthenticationResult> for TokenOutput<'a> {
    fn from(result: &'a AuthenticationResult) -> Self {
        let metadata = result.metadata();
        let certificate = result.binding_certificate();
        Self {
            access_token: result.access_token(),
            token_type: result.token_type(),
            expires_on: result.expires_on_unix(),
            scopes: result.scopes().collect(),
            tenant_id: result.tenant_id(),
            correlation_id: result.correlation_id().to_string(),
            account: result.account().map(Into::into),
            long_running_session_key: result.long_running_session_key(),
            spa_code: result.spa_authorization_code(),
            id_token: result.id_token(),
            binding_certificate: certificate
                .map(|binding| BindingCertificateOutput { thumbprint_sha256: binding.thumbprint_sha256() }),
            metadata: MetadataOutput {
                token_source: metadata.token_source.as_str(),
                token_endpoint: metadata.token_endpoint.as_deref(),
                cache_refresh_reason: metadata.cache_refresh_reason.as_str(),
                region_used: metadata.region_used.as_deref(),
                duration_total_ms: milliseconds(metadata.duration_total),
                duration_in_http_ms: milliseconds(metadata.duration_in_http),
            },
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
