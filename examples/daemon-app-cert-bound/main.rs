//! A daemon that authenticates with its certificate in the TLS handshake, against a local authority.

use std::error::Error;
use std::ffi::OsString;
use std::path::Path;

use symbolon::{Settings, Symbolon};
use symbolon_authority::{Authority, Registration};

const SCOPE: &str = "https://graph.microsoft.com/.default";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let authority = Authority::builder().data_dir(directory.path()).start().await?;
    let configuration =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/daemon-app-cert-bound/appsettings.json");
    let settings = Settings::from_file(configuration)?;
    let settings = settings.with_environment(local(&authority, directory.path()));

    let symbolon = Symbolon::builder().build()?;
    let application = symbolon.application(settings.application(None)?)?;
    // What an administrator does at Entra ID: the certificate, and mutual TLS for this application.
    let certificate = std::fs::read_to_string(directory.path().join("client.crt"))?;
    let registration = Registration::new(application.options().client_id()).certificate_pem(&certificate)?;
    authority.register(registration.mtls(true).pop(true));

    let bearer = application.acquire_token_for_client([SCOPE]).await?;
    println!("{} token for {SCOPE}: anybody may present it", bearer.token_type());
    let bound = application.acquire_token_for_client([SCOPE]).with_mtls_proof_of_possession().await?;
    let binding = bound.binding_certificate().ok_or("a token that is bound to nothing")?;
    println!(
        "{} token for {SCOPE}: only with certificate {}",
        bound.token_type(),
        binding.thumbprint_sha256()
    );

    for request in authority.log() {
        let presented = request.client_certificate.ok_or("the authority saw no certificate")?;
        println!(
            "the authority saw: {} https://{}{}, certificate {presented}",
            request.method, request.host, request.path
        );
    }
    Ok(())
}

/// What points the configuration to the local authority: environment variables, as they could be set outside as well.
fn local(authority: &Authority, directory: &Path) -> Vec<(OsString, OsString)> {
    let mut variables = vec![
        ("AzureAd__ClientCredentials__0__CertificateDiskPath".into(), directory.join("client.pem").into()),
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
