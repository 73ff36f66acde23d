//! Key Vault: certificates and secrets, for whoever shows a token for it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use p12_keystore::{KeyStore, Pkcs12ImportPolicy};
use serde_json::{Value, json};
use symbolon_authority::{
    Authority, CONTOSO, CertificatePolicy, Endpoint, FABRIKAM, Fault, FaultRule, FederatedAssertion,
    Registration, Vault,
};

use crate::support::*;

const HOST: &str = "contoso-vault.vault.azure.net";
const SCOPE: &str = "https://vault.azure.net/.default";

async fn start() -> (Authority, Vault) {
    let authority = authority().application(Registration::new(CLIENT).secret(SECRET)).start().await.unwrap();
    let vault = authority.vault("Contoso-Vault");
    (authority, vault)
}

async fn token_for(authority: &Authority, tenant: &str, scope: &str) -> String {
    let mut form = secret_form(CLIENT, SECRET);
    form[2].1 = scope;
    let path = format!("/{tenant}/oauth2/v2.0/token");
    let reply = Client::new(authority).post(LOGIN, &path, &form).await.unwrap();
    member(&reply, "access_token")
}

async fn get_with(authority: &Authority, path: &str, authorization: &str) -> Reply {
    let headers = [("authorization", authorization)];
    let headers = if authorization.is_empty() { &headers[..0] } else { &headers[..] };
    Client::new(authority).send(HOST, request("GET", HOST, path, headers, String::new())).await.unwrap()
}

async fn get(authority: &Authority, path: &str) -> Reply {
    let token = token_for(authority, CONTOSO, SCOPE).await;
    get_with(authority, &format!("{path}?api-version=7.4"), &format!("Bearer {token}")).await
}

/// The token with another signature.
fn spoilt(token: &str) -> String {
    let (content, signature) = token.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { 'B' } else { 'A' };
    format!("{content}.{other}{}", &signature[1..])
}

#[track_caller]
fn assert_refusal(reply: &Reply, status: u16, code: &str) -> String {
    let body = reply.json();
    assert_eq!((reply.status.as_u16(), &body["error"]["code"]), (status, &json!(code)), "{body}");
    body["error"]["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_certificate_and_its_secret_in_pkcs12() {
    let (authority, vault) = start().await;
    assert_eq!(vault.url(), format!("https://{HOST}"));
    let own = rsa_certificate("own");
    let version = vault.import("client", &own, CertificatePolicy::pkcs12()).unwrap();
    let bundle = get(&authority, "/certificates/client").await;
    assert_eq!(bundle.status, 200, "{}", bundle.json());
    assert!(bundle.header("x-ms-keyvault-service-version").is_some());
    assert_eq!(bundle.header("x-ms-ests-server"), None);
    let bundle = bundle.json();
    assert_eq!(bundle["id"], format!("https://{HOST}/certificates/client/{version}"));
    assert_eq!(bundle["sid"], format!("https://{HOST}/secrets/client/{version}"));
    assert_eq!(bundle["cer"], STANDARD.encode(&own.chain()[0]));
    assert_eq!(bundle["x5t"], x5t(&own));
    assert_eq!(bundle["attributes"]["nbf"], own.certificate().not_before_unix());
    assert_eq!(bundle["attributes"]["exp"], own.certificate().not_after_unix());
    assert_eq!(
        (&bundle["attributes"]["enabled"], &bundle["attributes"]["created"]),
        (&json!(true), &json!(NOW))
    );
    assert_eq!(bundle["policy"]["secret_props"]["contentType"], "application/x-pkcs12");
    let key = &bundle["policy"]["key_props"];
    assert_eq!(
        (&key["exportable"], &key["kty"], &key["key_size"]),
        (&json!(true), &json!("RSA"), &json!(2048))
    );

    let secret = get(&authority, "/secrets/client").await.json();
    assert_eq!(secret["contentType"], "application/x-pkcs12");
    assert_eq!((&secret["managed"], &secret["id"]), (&json!(true), &bundle["sid"]));
    let pfx = STANDARD.decode(secret["value"].as_str().unwrap()).unwrap();
    let store = KeyStore::from_pkcs12(&pfx, "", Pkcs12ImportPolicy::Strict).unwrap();
    let (_, chain) = store.private_key_chain().unwrap();
    assert_eq!(chain.certs()[0].as_der(), &*own.chain()[0]);
    assert_eq!(chain.key().as_der(), own.key().secret_der());
}

#[tokio::test]
async fn pem_and_keys_that_stay_in_the_vault() {
    let (authority, vault) = start().await;
    let own = certificate("own");
    vault.import("pem", &own, CertificatePolicy::pem()).unwrap();
    vault.import("pem-kept", &own, CertificatePolicy::pem().exportable(false)).unwrap();
    vault.import("pfx-kept", &own, CertificatePolicy::pkcs12().exportable(false)).unwrap();
    let secret = get(&authority, "/secrets/pem").await.json();
    assert_eq!(
        (&secret["contentType"], &secret["value"]),
        (&json!("application/x-pem-file"), &json!(own.pem()))
    );
    let bundle = get(&authority, "/certificates/pem").await.json();
    assert_eq!(bundle["policy"]["key_props"]["kty"], "EC");
    assert_eq!(get(&authority, "/secrets/pem-kept").await.json()["value"], own.certificate_pem());
    let kept = get(&authority, "/secrets/pfx-kept").await.json();
    let pfx = STANDARD.decode(kept["value"].as_str().unwrap()).unwrap();
    let store = KeyStore::from_pkcs12(&pfx, "", Pkcs12ImportPolicy::Relaxed).unwrap();
    assert!(store.private_key_chain().is_none());
    let bundle = get(&authority, "/certificates/pfx-kept").await.json();
    assert_eq!(bundle["policy"]["key_props"]["exportable"], false);
}

#[tokio::test]
async fn versions_and_rotation() {
    let (authority, vault) = start().await;
    let (first, second) = (certificate("first"), certificate("second"));
    let old = vault.import("client", &first, CertificatePolicy::pem()).unwrap();
    let new = vault.import("Client", &second, CertificatePolicy::pem()).unwrap();
    assert_eq!(vault.versions("client"), [old.clone(), new.clone()]);
    assert_eq!(get(&authority, "/certificates/client").await.json()["x5t"], x5t(&second));
    assert_eq!(get(&authority, &format!("/certificates/client/{old}")).await.json()["x5t"], x5t(&first));
    assert_eq!(get(&authority, "/secrets/client").await.json()["value"], second.pem());
    assert_eq!(get(&authority, &format!("/secrets/client/{old}")).await.json()["value"], first.pem());

    assert!(vault.set_enabled("client", &new, false));
    let reply = get(&authority, "/secrets/client").await;
    assert_refusal(&reply, 403, "Forbidden");
    assert_eq!(reply.json()["error"]["innererror"]["code"], "SecretDisabled");
    assert_eq!(get(&authority, "/certificates/client").await.json()["attributes"]["enabled"], false);
    assert!(!vault.set_enabled("client", "0", true) && !vault.set_enabled("other", &new, true));
    assert!(vault.delete("client") && !vault.delete("client"));
    assert_refusal(&get(&authority, "/secrets/client").await, 404, "SecretNotFound");
}

#[tokio::test]
async fn a_mere_secret() {
    let (authority, vault) = start().await;
    vault.set_secret("connection", "canary", "text/plain");
    let secret = get(&authority, "/secrets/connection").await.json();
    assert_eq!((&secret["value"], &secret["contentType"]), (&json!("canary"), &json!("text/plain")));
    assert_eq!(secret.get("managed"), None::<&Value>);
    assert_refusal(&get(&authority, "/certificates/connection").await, 404, "CertificateNotFound");
    assert!(!format!("{vault:?}{:?}", authority.log()).contains("canary"));
}

#[tokio::test]
async fn tokens_that_are_refused() {
    let (authority, vault) = start().await;
    vault.set_secret("connection", "canary", "text/plain");
    let good = token_for(&authority, CONTOSO, SCOPE).await;
    let slash = token_for(&authority, CONTOSO, "https://vault.azure.net//.default").await;
    let graph = token_for(&authority, CONTOSO, GRAPH).await;
    let fabrikam = token_for(&authority, FABRIKAM, SCOPE).await;
    let foreign =
        authority.federated_assertion(&FederatedAssertion::new("x").audience("https://vault.azure.net"));
    let path = "/secrets/connection?api-version=7.4";
    assert_eq!(get_with(&authority, path, &format!("bearer {good}")).await.status, 200);
    for (authorization, part) in [
        (String::new(), "AKV10000: Request is missing a Bearer or PoP token."),
        (format!("Basic {good}"), "AKV10000"),
        (good.clone(), "AKV10000"),
        ("Bearer nonsense".to_owned(), "[BearerReadAccessTokenFailed]"),
        (format!("Bearer {foreign}"), "AKV10046"),
        (format!("Bearer {}", spoilt(&good)), "AKV10046"),
        (
            format!("Bearer {slash}"),
            "AKV10022: Invalid audience. Expected https://vault.azure.net or \
             cfa8b339-82a2-471a-a3c9-0fc0be7a4093, found: https://vault.azure.net/.",
        ),
        (format!("Bearer {graph}"), "found: https://graph.microsoft.com."),
        (format!("Bearer {fabrikam}"), "AKV10032: Invalid issuer."),
    ] {
        let reply = get_with(&authority, path, &authorization).await;
        let message = assert_refusal(&reply, 401, "Unauthorized");
        assert!(message.contains(part), "{message}");
        assert_eq!(
            reply.header("www-authenticate").unwrap(),
            format!(
                "Bearer authorization=\"https://login.microsoftonline.com/{CONTOSO}\", \
                 resource=\"https://vault.azure.net\""
            )
        );
    }
    vault.set_tenant(FABRIKAM);
    assert_eq!(get_with(&authority, path, &format!("Bearer {fabrikam}")).await.status, 200);
    assert_eq!(get_with(&authority, path, &format!("Bearer {good}")).await.status, 401);
    authority.advance(std::time::Duration::from_secs(3599));
    let reply = get_with(&authority, path, &format!("Bearer {fabrikam}")).await;
    assert!(assert_refusal(&reply, 401, "Unauthorized").starts_with("[TokenExpired]"));
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_certificate() {
    let (authority, vault) = start().await;
    vault.set_secret("connection", "canary", "text/plain");
    let own = certificate("own");
    let other = "99999999-0000-4000-8000-000000000002";
    authority.register(Registration::new(other).certificate(own.certificate().clone()).mtls(true).pop(true));
    let form = [
        ("client_id", other),
        ("grant_type", "client_credentials"),
        ("scope", SCOPE),
        ("token_type", "mtls_pop"),
    ];
    let token = member(&Client::with_certificate(&authority, &own).token(MTLS, &form).await, "access_token");
    let reply = get_with(&authority, "/secrets/connection?api-version=7.4", &format!("Bearer {token}")).await;
    assert_refusal(&reply, 401, "Unauthorized");
}

#[tokio::test]
async fn what_is_refused() {
    let (authority, vault) = start().await;
    vault.set_secret("connection", "canary", "text/plain");
    let token = format!("Bearer {}", token_for(&authority, CONTOSO, SCOPE).await);
    for (path, status, code) in [
        ("/secrets/connection", 400, "BadParameter"),
        ("/secrets/connection?api-version=1.0", 400, "BadParameter"),
        ("/secrets/other?api-version=7.4", 404, "SecretNotFound"),
        ("/secrets/connection/0?api-version=7.4", 404, "SecretNotFound"),
        ("/certificates/other?api-version=7.4", 404, "CertificateNotFound"),
        ("/keys/connection?api-version=7.4", 404, "NotFound"),
        ("/?api-version=7.4", 404, "NotFound"),
    ] {
        assert_refusal(&get_with(&authority, path, &token).await, status, code);
    }
    let path = "/secrets/connection?api-version=7.4";
    let put = request("PUT", HOST, path, &[("authorization", &token)], String::new());
    let reply = Client::new(&authority).send(HOST, put).await.unwrap();
    assert_refusal(&reply, 405, "MethodNotAllowed");
    let nowhere = "nowhere.vault.azure.net";
    let ask = request("GET", nowhere, path, &[("authorization", &token)], String::new());
    let reply = Client::new(&authority).send(nowhere, ask).await.unwrap();
    assert_refusal(&reply, 404, "VaultNotFound");
    for no_vault in ["vault.azure.net", "a.b.vault.azure.net", "ab.vault.azure.net"] {
        assert!(Client::new(&authority).connect(no_vault).await.is_err(), "{no_vault}");
    }
}

#[tokio::test]
async fn who_may_read() {
    let (authority, vault) = start().await;
    vault.set_secret("connection", "canary", "text/plain");
    let reader = decoded(&token_for(&authority, CONTOSO, SCOPE).await)["oid"].as_str().unwrap().to_owned();
    vault.allow("00000000-0000-4000-8000-000000000000");
    let reply = get(&authority, "/secrets/connection").await;
    let message = assert_refusal(&reply, 403, "Forbidden");
    assert!(message.contains(&format!("appid={CLIENT};oid={reader}")), "{message}");
    assert_eq!(reply.json()["error"]["innererror"]["code"], "AccessDenied");
    vault.allow(&reader.to_uppercase());
    assert_eq!(get(&authority, "/secrets/connection").await.status, 200);
}

#[tokio::test]
async fn faults_and_log() {
    let (authority, vault) = start().await;
    vault.set_secret("connection", "canary", "text/plain");
    let throttled = Fault::Status { status: 429, retry_after: None, body: None };
    authority.faults().add(FaultRule::once(throttled).endpoint(Endpoint::KeyVault));
    assert_refusal(&get(&authority, "/secrets/connection").await, 429, "Throttled");
    assert_eq!(get(&authority, "/secrets/connection").await.status, 200);
    let log: Vec<_> =
        authority.log().into_iter().filter(|entry| entry.endpoint == Some(Endpoint::KeyVault)).collect();
    let [first, second] = log.as_slice() else { panic!("{log:?}") };
    assert_eq!((first.status, first.error.as_deref()), (Some(429), Some("Throttled")));
    assert_eq!((second.host.as_str(), second.path.as_str()), (HOST, "/secrets/connection"));
    assert!(authority.hosts().contains(&"*.vault.azure.net".to_owned()));
}
