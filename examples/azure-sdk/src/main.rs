//! The Azure SDK reads a secret of a key vault as an application of Symbolon, whose certificate is presented to the
//! authority and to nobody else: `cargo run -p symbolon-example-azure-sdk`.
//!
//! Authority and vault are local ones. In Azure, all that is left of this is `application` to `client`, without options.

use std::sync::Arc;

use azure_core::http::{ClientOptions, Transport};
use azure_security_keyvault_secrets::{SecretClient, SecretClientOptions};
use symbolon::{ApplicationOptions, Symbolon};
use symbolon_authority::Authority;
use symbolon_azure::ApplicationCredential;
use tempfile::TempDir;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let directory = TempDir::new()?;
    let authority = Authority::builder().data_dir(directory.path()).start().await?;
    let vault = authority.vault("contoso");
    vault.set_secret("greeting", "Hello from the vault", "text/plain");

    let settings = directory.path().join("appsettings-mtls.json");
    let application = Symbolon::builder().build()?.application(ApplicationOptions::from_file(settings)?)?;
    let credential = Arc::new(ApplicationCredential::new(application));
    let client = SecretClient::new(&vault.url(), credential, Some(options(&authority)?))?;

    let secret = client.get_secret("greeting", None).await?.into_model()?;
    println!("the SDK read:       {}", secret.value.unwrap_or_default());
    for request in authority.log() {
        let certificate = request.client_certificate.map_or("no certificate", |_| "a certificate");
        println!(
            "the server saw:     {} https://{}{} with {certificate}",
            request.method, request.host, request.path
        );
    }
    Ok(())
}

/// What leads the SDK to the local vault.
fn options(authority: &Authority) -> anyhow::Result<SecretClientOptions> {
    let http = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(authority.ca_pem().as_bytes())?])
        .resolve("contoso.vault.azure.net", authority.address())
        .build()?;
    let client_options =
        ClientOptions { transport: Some(Transport::new(Arc::new(http))), ..Default::default() };
    Ok(SecretClientOptions { client_options, ..Default::default() })
}
