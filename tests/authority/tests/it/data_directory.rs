//! The data directory: what a fresh one gets, what survives a restart, and how mistakes are reported.

use std::{fs, path::Path};

use serde_json::{Value, json};
use symbolon_authority::{Authority, StartError, sample};

use crate::support::*;

async fn start(directory: &Path) -> Result<Authority, StartError> {
    authority().data_dir(directory).start().await
}

fn settings(directory: &Path, name: &str) -> Value {
    let text = fs::read_to_string(directory.join(format!("appsettings-{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn secret(directory: &Path, name: &str) -> String {
    settings(directory, name)["AzureAd"]["ClientCredentials"][0]["ClientSecret"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_fresh_directory_works_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let authority = start(directory.path()).await.unwrap();
    let client = Client::new(&authority);
    let send = async |name: &str, client_id: &str| {
        let secret = secret(directory.path(), name);
        client.token(LOGIN, &secret_form(client_id, &secret)).await
    };
    assert_eq!(send("secret", sample::SECRET).await.status, 200);
    assert_eq!(send("refresh", sample::REFRESH).await.json()["refresh_in"], 43_200);
    assert_refused(&send("expired-secret", sample::EXPIRED_SECRET).await, 401, "invalid_client", 7000222);
    let assertion = fs::read_to_string(directory.path().join("federated-assertion.jwt")).unwrap();
    let reply = client.token(LOGIN, &assertion_form(sample::FEDERATED, &assertion)).await;
    assert_eq!(reply.status, 200, "{}", reply.json());
}

#[tokio::test]
async fn the_users_call_the_web_apis() {
    let directory = tempfile::tempdir().unwrap();
    let authority = start(directory.path()).await.unwrap();
    let client = Client::new(&authority);
    let secret = secret(directory.path(), "web-api");
    for (name, upn) in [("alice", sample::ALICE), ("bob", sample::BOB)] {
        let file = directory.path().join(format!("user-assertion-{name}.jwt"));
        let assertion = fs::read_to_string(file).unwrap();
        let mut form = on_behalf_of(&assertion);
        form.retain(|(name, _)| !name.starts_with("client_"));
        form.extend([("client_id", sample::WEB_API), ("client_secret", secret.as_str())]);
        assert_eq!(client.token(LOGIN, &form).await.claims()["upn"], upn);
    }
    for (api, client_id) in [
        ("web-api-certificate", sample::WEB_API_CERTIFICATE),
        ("web-api-bound", sample::WEB_API_BOUND),
        ("blueprint", sample::BLUEPRINT),
        ("blueprint-bound", sample::BLUEPRINT_BOUND),
    ] {
        let file = directory.path().join(format!("user-assertion-alice-{api}.jwt"));
        let claims = decoded(&fs::read_to_string(file).unwrap());
        assert_eq!((&claims["aud"], &claims["exp"]), (&json!(client_id), &json!(NOW + 86_400)));
    }
}

#[tokio::test]
async fn each_sample_has_settings_that_lead_here() {
    let directory = tempfile::tempdir().unwrap();
    let authority = start(directory.path()).await.unwrap();
    let mut seen = 0;
    for entry in fs::read_dir(directory.path()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(name) = name.strip_prefix("appsettings-").and_then(|name| name.strip_suffix(".json")) else {
            continue;
        };
        seen += 1;
        let settings = settings(directory.path(), name);
        let client_id = settings["AzureAd"]["ClientId"].as_str().unwrap().to_owned();
        assert!(authority.client_ids().contains(&client_id), "{name}");
        assert_eq!(settings["Symbolon"]["ConnectTo"][LOGIN], authority.address().to_string());
        let root = settings["Symbolon"]["TrustedRoots"][0].as_str().unwrap();
        assert_eq!(fs::read_to_string(root).unwrap(), authority.ca_pem());
        for file in ["CertificateDiskPath", "SignedAssertionFileDiskPath"] {
            let path = &settings["AzureAd"]["ClientCredentials"][0][file];
            assert!(path.is_null() || Path::new(path.as_str().unwrap()).is_file(), "{name}");
        }
    }
    assert_eq!(seen, 16);
}

#[tokio::test]
async fn a_restart_keeps_ca_keys_and_registrations() {
    let directory = tempfile::tempdir().unwrap();
    let first = start(directory.path()).await.unwrap();
    let (ca, keys) = (first.ca_pem().to_owned(), first.keys());
    let own = secret(directory.path(), "secret");
    drop(first);
    let second = start(directory.path()).await.unwrap();
    assert_eq!((second.ca_pem(), secret(directory.path(), "secret")), (ca.as_str(), own.clone()));
    assert_eq!(second.keys()["keys"][0]["n"], keys["keys"][0]["n"]);
    assert_eq!(second.keys()["keys"][0]["kid"], keys["keys"][0]["kid"]);
    assert_eq!(Client::new(&second).token(LOGIN, &secret_form(sample::SECRET, &own)).await.status, 200);
    assert_eq!(
        settings(directory.path(), "secret")["Symbolon"]["ConnectTo"][LOGIN],
        second.address().to_string()
    );
}

#[cfg(unix)]
#[tokio::test]
async fn files_with_secrets_are_the_owners() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    start(directory.path()).await.unwrap();
    let open = ["ca.pem", "client-issuer.pem", "client.crt", "client-chain.crt", "client-expired.crt"];
    for entry in fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert!(mode == 0o600 || open.contains(&name.as_str()), "{name} {mode:o}");
    }
}

#[tokio::test]
async fn the_documented_registrations_are_read() {
    let directory = tempfile::tempdir().unwrap();
    drop(start(directory.path()).await.unwrap());
    let documentation = include_str!("../../src/lib.rs");
    let (_, rest) = documentation.split_once("//! ```json\n").unwrap();
    let (text, _) = rest.split_once("//! ```").unwrap();
    let text: String = text.lines().map(|line| format!("{}\n", line.trim_start_matches("//!"))).collect();
    fs::write(directory.path().join("applications.json"), text).unwrap();
    let authority = start(directory.path()).await.unwrap();
    assert_eq!(
        authority.client_ids(),
        ["11111111-0000-4000-8000-000000000098", "11111111-0000-4000-8000-000000000099"]
    );
    assert_eq!(authority.faults().list().len(), 1);
    let mut form = secret_form("11111111-0000-4000-8000-000000000099", "local only");
    form[2].1 = "api://orders/.default";
    let reply = Client::new(&authority).post(LOGIN, "/woodgrove.com/oauth2/v2.0/token", &form).await.unwrap();
    assert_eq!(reply.claims()["roles"], json!(["Orders.Read"]));
    let path = "/woodgrove.com/oauth2/v2.0/token";
    let password = [
        ("client_id", "11111111-0000-4000-8000-000000000099"),
        ("client_secret", "local only"),
        ("grant_type", "password"),
        ("username", "carol@woodgrove.com"),
        ("password", "local only"),
        ("scope", "api://orders/Orders.Write"),
    ];
    let reply = Client::new(&authority).post(LOGIN, path, &password).await.unwrap();
    assert_refused(&reply, 400, "interaction_required", 50076);
    let mut password = password.to_vec();
    let claims = member(&reply, "claims");
    password.push(("claims", &claims));
    let reply = Client::new(&authority).post(LOGIN, path, &password).await.unwrap();
    assert_eq!((&reply.claims()["name"], &reply.claims()["acrs"]), (&json!("Carol"), &json!(["c1"])));
}

#[tokio::test]
async fn mistakes_name_file_place_and_what_is_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let application = |change: Value| {
        let mut application = json!({ "clientId": "a" });
        change.as_object().unwrap().iter().for_each(|(name, value)| application[name] = value.clone());
        json!({ "applications": [{ "clientId": "b" }, application] })
    };
    for (document, at, part) in [
        (json!({ "aplications": [] }), "aplications", "expected one of"),
        (application(json!({ "secret": "x" })), "applications[1].secret", "`secrets`"),
        (application(json!({ "mtls": "yes" })), "applications[1].mtls", "expected a boolean"),
        (application(json!({ "clientId": "B" })), "applications[1].clientId", "a second time"),
        (
            application(json!({ "tenants": ["nobody.com"] })),
            "applications[1].tenants[0]",
            "found 'nobody.com'",
        ),
        (
            application(json!({ "certificates": [{ "file": "none.pem" }] })),
            "applications[1].certificates[0].file",
            "none.pem",
        ),
        (
            application(json!({ "certificates": [{ "thumbprint": "AB" }] })),
            "applications[1].certificates[0].thumbprint",
            "SHA-256",
        ),
        (
            application(json!({ "secrets": [{ "value": "x", "expires": "soon" }] })),
            "applications[1].secrets[0].expires",
            "",
        ),
        (json!({ "tenants": [{ "id": "contoso" }] }), "tenants[0].id", "a GUID"),
        (
            json!({ "users": [{ "objectId": "alice", "userPrincipalName": "a@b.c" }] }),
            "users[0].objectId",
            "a GUID",
        ),
        (
            application(json!({ "agentOf": "b", "secrets": [{ "value": "x" }] })),
            "applications[1].agentOf",
            "an agent with a credential",
        ),
        (application(json!({ "mtlsFlows": ["magic"] })), "applications[1].mtlsFlows[0]", "on_behalf_of"),
        (
            application(json!({ "conditionalAccess": [{ "requirement": "x" }] })),
            "applications[1].conditionalAccess[0].requirement",
            "multiFactor",
        ),
        (
            json!({ "resources": [{ "identifiers": [], "appId": "a", "tokenVersion": 3 }] }),
            "resources[0].tokenVersion",
            "1 or 2",
        ),
    ] {
        fs::write(directory.path().join("applications.json"), document.to_string()).unwrap();
        let error = start(directory.path()).await.unwrap_err().to_string();
        for expected in ["applications.json", at, part] {
            assert!(error.contains(expected), "{error} lacks {expected}");
        }
    }
}
