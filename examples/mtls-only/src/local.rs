//! An API that demands a certificate, and the settings of an application that has one.

use std::path::PathBuf;

use serde_json::json;
use symbolon_authority::{Api, Ask, Authority, Demand};
use tempfile::TempDir;

/// All of it ends when it is dropped.
pub(crate) struct Site {
    directory: TempDir,
    _api: Api,
    _authority: Authority,
}

impl Site {
    /// Starts it, on ports of the loopback address.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let directory = TempDir::new()?;
        // It makes the certificates. Nobody asks it for a token.
        let authority = Authority::builder().data_dir(directory.path()).start().await?;
        let api = Api::builder().demand(Demand::Certificate).ask(Ask::Required).start(&authority).await?;
        let settings = json!({
            "AzureAd": {
                "Instance": "https://login.microsoftonline.com/",
                "TenantId": "contoso.com",
                "ClientId": "11111111-2222-3333-4444-555555555555",
                "ClientCredentials": [{ "SourceType": "Path", "CertificateDiskPath": "client.pem" }],
            },
            "DownstreamApis": { "orders": { "BaseUrl": api.url(), "ProtocolScheme": "MTLS" } },
            "Symbolon": {
                "ConnectTo": { api.host(): api.address().to_string() },
                "TrustedRoots": ["ca.pem"],
            },
        });
        let site = Self { directory, _api: api, _authority: authority };
        std::fs::write(site.settings(), format!("{settings:#}"))?;
        Ok(site)
    }

    /// The settings file.
    pub(crate) fn settings(&self) -> PathBuf {
        self.directory.path().join("appsettings.json")
    }
}
