//! A token for the application itself, by each kind of credential, over real TLS.

use symbolon::{Application, AuthenticationResult, TokenSource};
use symbolon_authority::LogEntry;
use symbolon_end_to_end::{GRAPH, World, engine};

/// Acquires a token twice. The authority sees one request, which is given back with the first token.
async fn acquire_twice(
    world: &World,
    application: &Application,
    pop: bool,
) -> (AuthenticationResult, LogEntry) {
    let before = world.token_requests().len();
    let acquire = || async {
        let request = application.acquire_token_for_client([GRAPH]);
        if pop { request.with_mtls_proof_of_possession().await } else { request.await }
    };
    let first = acquire().await.expect("a token from the authority");
    let second = acquire().await.expect("a token from the cache");
    let seen = world.token_requests();
    assert_eq!(seen.len(), before + 1, "one request");
    assert_eq!(first.access_token(), second.access_token());
    assert_eq!(first.metadata().token_source, TokenSource::IdentityProvider);
    assert_eq!(second.metadata().token_source, TokenSource::Cache);
    let request = seen.last().expect("a request").clone();
    assert_eq!(request.status, Some(200));
    (first, request)
}

fn form_names(request: &LogEntry) -> Vec<&str> {
    request.form_names().collect()
}

#[tokio::test]
async fn by_a_secret() {
    let (world, symbolon) = (World::start().await, engine());
    let (token, request) = acquire_twice(&world, &world.application(&symbolon, "secret"), false).await;
    assert_eq!(token.token_type(), "Bearer");
    assert_eq!(request.host, "login.microsoftonline.com");
    assert_eq!(form_names(&request), ["client_id", "client_secret", "scope", "grant_type", "client_info"]);
    assert_eq!(request.client_certificate, None);
    assert_eq!(request.header("x-client-current-telemetry"), Some("5|1004,2,,,|0,1,1,,,"));
    assert_eq!(request.header("client-request-id"), Some(token.correlation_id().to_string().as_str()));
}

#[tokio::test]
async fn by_a_certificate() {
    certificate(&World::start().await).await;
}

/// The same wherever the key is.
pub(crate) async fn certificate(world: &World) {
    let symbolon = engine();
    let (token, request) = acquire_twice(world, &world.application(&symbolon, "certificate"), false).await;
    assert_eq!(token.token_type(), "Bearer");
    assert_eq!(request.host, "login.microsoftonline.com");
    assert_eq!(
        form_names(&request),
        ["client_id", "client_assertion_type", "client_assertion", "scope", "grant_type", "client_info"]
    );
    let (header, payload) = request.client_assertion().expect("an assertion");
    assert_eq!(header["alg"], "PS256");
    assert!(header.get("x5c").is_none());
    assert!(payload["exp"].is_u64());
    assert_eq!(request.client_certificate, None);
}

#[tokio::test]
async fn by_subject_name_and_issuer() {
    subject_name_and_issuer(&World::start().await).await;
}

/// The same wherever the key is.
pub(crate) async fn subject_name_and_issuer(world: &World) {
    let symbolon = engine();
    let (_, request) = acquire_twice(world, &world.application(&symbolon, "subject-name"), false).await;
    let (header, _) = request.client_assertion().expect("an assertion");
    assert_eq!(header["x5c"]["form"], "array");
    assert_eq!(header["x5c"]["x5t#S256"].as_array().map(Vec::len), Some(2), "the certificate and its issuer");
}

#[tokio::test]
async fn over_mutual_tls() {
    mutual_tls(&World::start().await).await;
}

/// The same wherever the key is.
pub(crate) async fn mutual_tls(world: &World) {
    let symbolon = engine();
    let options = world.options("bound", |settings| {
        settings["AzureAd"]["ClientCredentials"][0]["UseBoundCredential"] = true.into();
    });
    let application = symbolon.application(options.expect("options")).expect("an application");
    let (token, request) = acquire_twice(world, &application, false).await;
    assert_eq!(token.token_type(), "Bearer");
    assert_eq!(request.host, "mtlsauth.microsoft.com");
    assert!(request.client_certificate.is_some());
    let (header, _) = request.client_assertion().expect("an assertion beside the certificate");
    assert_eq!(header["x5c"]["form"], "array");
    assert_eq!(request.form_text("token_type"), None);
}

#[tokio::test]
async fn over_mutual_tls_in_a_region() {
    let (world, symbolon) = (World::start().await, engine());
    let options = world.options("bound", |settings| {
        settings["AzureAd"]["ClientCredentials"][0]["UseBoundCredential"] = true.into();
        settings["AzureAd"]["AzureRegion"] = "westus2".into();
    });
    let application = symbolon.application(options.expect("options")).expect("an application");
    let (token, request) = acquire_twice(&world, &application, false).await;
    assert_eq!(request.host, "westus2.mtlsauth.microsoft.com");
    assert_eq!(token.metadata().region_used.as_deref(), Some("westus2"));
}

#[tokio::test]
async fn bound_to_the_certificate() {
    proof_of_possession(&World::start().await).await;
}

/// The same wherever the key is.
pub(crate) async fn proof_of_possession(world: &World) {
    let symbolon = engine();
    let (token, request) = acquire_twice(world, &world.application(&symbolon, "bound"), true).await;
    assert_eq!(token.token_type(), "mtls_pop");
    assert_eq!(request.host, "mtlsauth.microsoft.com");
    assert_eq!(form_names(&request), ["client_id", "scope", "grant_type", "client_info", "token_type"]);
    let binding = token.binding_certificate().expect("the binding certificate");
    assert_eq!(request.client_certificate.as_deref(), Some(binding.thumbprint_sha256()));
}

#[tokio::test]
async fn strictly() {
    strict(&World::start().await).await;
}

/// The same wherever the key is.
pub(crate) async fn strict(world: &World) {
    let application = world.application(&engine(), "strict");
    acquire_twice(world, &application, false).await;
    acquire_twice(world, &application, true).await;
}
