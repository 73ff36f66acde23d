//! A daemon without credential of its own, which authenticates with the token of an identity that it trusts, bound to that
//! identity's certificate, against a local authority.

use std::error::Error;
use std::ffi::OsString;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use symbolon::{Application, Settings, Symbolon};
use symbolon_authority::{Authority, CONTOSO, Registration};

const SCOPE: &str = "https://graph.microsoft.com/.default";
const EXCHANGE: &str = "api://AzureADTokenExchange";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let authority = Authority::builder().data_dir(directory.path()).start().await?;
    let configuration =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/daemon-app-fic-bound/appsettings.json");
    let settings = Settings::from_file(configuration)?;
    let settings = settings.with_environment(local(&authority, directory.path()));

    let symbolon = Symbolon::builder().build()?;
    let identity = symbolon.application(settings.application(Some("Identity"))?)?;
    let daemon = symbolon.application(settings.application(None)?)?;
    register(&authority, directory.path(), &identity, &daemon).await?;

    let token = daemon.acquire_token_for_client([SCOPE]).await?;
    println!("{} token for {SCOPE}", token.token_type());
    for request in authority.log() {
        let presented = request.client_certificate.as_deref().unwrap_or("no certificate");
        let client = request.form_text("client_id").unwrap_or_default();
        let assertion = request.form_text("client_assertion_type").unwrap_or("no assertion");
        println!("{client} at {}: {presented}, {assertion}", request.host);
    }
    let bound = authority.log().iter().all(|request| request.client_certificate.is_some());
    if bound { Ok(()) } else { Err("the authority saw a request without certificate".into()) }
}

/// What an administrator does at Entra ID: the identity's certificate, mutual TLS for both, and the trust between them.
async fn register(
    authority: &Authority,
    directory: &Path,
    identity: &Application,
    daemon: &Application,
) -> Result<(), Box<dyn Error>> {
    let certificate = std::fs::read_to_string(directory.join("client.crt"))?;
    let registration = Registration::new(identity.options().client_id()).certificate_pem(&certificate)?;
    authority.register(registration.mtls(true).pop(true));
    // Entra ID's portal shows the identity's object id; the local authority says it in a token.
    let token = identity.acquire_token_for_client([SCOPE]).await?;
    let payload = token.access_token().split('.').nth(1).unwrap_or_default();
    let payload = BASE64_URL_SAFE_NO_PAD.decode(payload).map_err(|error| error.to_string())?;
    let claims: serde_json::Value = serde_json::from_slice(&payload)?;
    let subject = claims["sub"].as_str().unwrap_or_default();
    let issuer = format!("https://login.microsoftonline.com/{CONTOSO}/v2.0");
    let registration = Registration::new(daemon.options().client_id()).mtls(true);
    authority.register(registration.federated_credential(&issuer, subject, EXCHANGE));
    authority.reset();
    Ok(())
}

/// What points the configuration to the local authority: environment variables, as they could be set outside as well.
fn local(authority: &Authority, directory: &Path) -> Vec<(OsString, OsString)> {
    let mut variables = vec![
        ("Identity__ClientCredentials__0__CertificateDiskPath".into(), directory.join("client.pem").into()),
        ("Symbolon__TrustedRoots__0".into(), directory.join("ca.pem").into()),
    ];
    let hosts = authority.connect_to().into_iter();
    variables.extend(
        hosts.map(|(host, address)| {
            (format!("Symbolon__ConnectTo__{host}").into(), address.to_string().into())
        }),
    );
    variables
}
