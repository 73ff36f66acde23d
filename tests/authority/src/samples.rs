//! The tenants and resources that are always there, and the applications that a fresh data directory gets.

use std::{fs, net::SocketAddr, path::Path};

use serde_json::{Value, json};

use crate::{
    CertificateRequest, ClientCertificate, ClientCertificateIssuer, FEDERATION_ISSUER, FederatedAssertion,
    Flow, Resource, StartError, Tenant, User, UserToken, agent::EXCHANGE, encoding::random_secret,
    federation::FederationIssuer, files, hosts::Hosts, registration_file, scopes::GRAPH, state::State,
};

/// The id of the tenant `contoso.onmicrosoft.com`.
pub const CONTOSO: &str = "aaaabbbb-0000-cccc-1111-dddd2222eeee";
/// The id of the tenant `fabrikam.onmicrosoft.com`.
pub const FABRIKAM: &str = "bbbbcccc-1111-dddd-2222-eeee3333ffff";

/// The client ids of the applications that a fresh data directory gets.
pub mod sample {
    /// A client secret.
    pub const SECRET: &str = "11111111-0000-4000-8000-000000000001";
    /// A certificate by thumbprint; mutual TLS is not enabled (51000).
    pub const CERTIFICATE: &str = "11111111-0000-4000-8000-000000000002";
    /// A certificate by subject name and issuer: assertions need `x5c`.
    pub const SUBJECT_NAME: &str = "11111111-0000-4000-8000-000000000003";
    /// A certificate, with mutual TLS and bound tokens.
    pub const BOUND: &str = "11111111-0000-4000-8000-000000000004";
    /// A certificate, with mutual TLS but without bound tokens (392189).
    pub const MTLS: &str = "11111111-0000-4000-8000-000000000005";
    /// A federated credential of the test issuer.
    pub const FEDERATED: &str = "11111111-0000-4000-8000-000000000006";
    /// As [`BOUND`], strict.
    pub const STRICT: &str = "11111111-0000-4000-8000-000000000007";
    /// A client secret that is expired (7000222).
    pub const EXPIRED_SECRET: &str = "11111111-0000-4000-8000-000000000008";
    /// A certificate that is expired (1000502).
    pub const EXPIRED_CERTIFICATE: &str = "11111111-0000-4000-8000-000000000009";
    /// A client secret; tokens live for a day and are to be refreshed after half of it.
    pub const REFRESH: &str = "11111111-0000-4000-8000-000000000010";
    /// A web API with a client secret, the identifier URI `api://contoso-web-api`, the scope `access_as_user` and
    /// [`REDIRECT_URI`](super::REDIRECT_URI). It may name users, as the other two may.
    pub const WEB_API: &str = "11111111-0000-4000-8000-000000000011";
    /// A web API with a certificate.
    pub const WEB_API_CERTIFICATE: &str = "11111111-0000-4000-8000-000000000012";
    /// A web API with a certificate, with mutual TLS for the flows of [`Flow::OVER_MTLS`](crate::Flow::OVER_MTLS).
    pub const WEB_API_BOUND: &str = "11111111-0000-4000-8000-000000000013";
    /// A blueprint with a client secret.
    pub const BLUEPRINT: &str = "11111111-0000-4000-8000-000000000020";
    /// A blueprint with a certificate, with mutual TLS for every flow and bound tokens.
    pub const BLUEPRINT_BOUND: &str = "11111111-0000-4000-8000-000000000021";
    /// An agent of [`BLUEPRINT`].
    pub const AGENT_ONE: &str = "11111111-0000-4000-8000-000000000031";
    /// Another agent of [`BLUEPRINT`].
    pub const AGENT_TWO: &str = "11111111-0000-4000-8000-000000000032";
    /// An agent of [`BLUEPRINT_BOUND`], with mutual TLS for every flow and bound tokens.
    pub const BOUND_AGENT: &str = "11111111-0000-4000-8000-000000000033";

    /// The user principal name of Alice of Contoso.
    pub const ALICE: &str = "alice@contoso.com";
    /// Alice's object id.
    pub const ALICE_OBJECT_ID: &str = "a11ce000-0000-4000-8000-000000000001";
    /// Alice's password.
    pub const ALICE_PASSWORD: &str = "alice's password";
    /// The user principal name of Bob of Contoso.
    pub const BOB: &str = "bob@contoso.com";
    /// Bob's object id.
    pub const BOB_OBJECT_ID: &str = "b0b00000-0000-4000-8000-000000000002";
    /// Bob's password.
    pub const BOB_PASSWORD: &str = "bob's password";
}

/// The password of `client.pfx`.
pub const PFX_PASSWORD: &str = "development";
/// The subject of the federated credential of [`sample::FEDERATED`].
pub const FEDERATED_SUBJECT: &str = "repo:contoso/app:ref:refs/heads/main";
/// The redirect URI of the sample web APIs.
pub const REDIRECT_URI: &str = "https://localhost:5001/signin-oidc";
const AUDIENCE: &str = "api://AzureADTokenExchange";
const SUBJECT: &str = "client.contoso.test";
const ISSUER: &str = "Contoso client certificates";

pub(crate) fn tenants() -> Vec<Tenant> {
    vec![
        Tenant::new(CONTOSO, ["contoso.onmicrosoft.com", "contoso.com"]),
        Tenant::new(FABRIKAM, ["fabrikam.onmicrosoft.com", "fabrikam.com"]),
    ]
}

pub(crate) fn users() -> Vec<User> {
    vec![
        User::new(sample::ALICE_OBJECT_ID, sample::ALICE).name("Alice").password(sample::ALICE_PASSWORD),
        User::new(sample::BOB_OBJECT_ID, sample::BOB).name("Bob").password(sample::BOB_PASSWORD),
    ]
}

pub(crate) fn resources() -> Vec<Resource> {
    let graph = Resource {
        identifiers: [
            "https://graph.microsoft.com",
            "https://graph.microsoft.us",
            "https://dod-graph.microsoft.us",
            "https://microsoftgraph.chinacloudapi.cn",
        ]
        .map(str::to_owned)
        .to_vec(),
        ..Resource::new("", GRAPH).version_1().role("User.Read.All").scopes([
            "User.Read",
            "User.ReadBasic.All",
            "Mail.Read",
            "Mail.Send",
            "Calendars.Read",
            "Files.Read",
        ])
    };
    let exchange = Resource {
        identifiers: ["", "USGov", "China", "France", "Germany"]
            .map(|cloud| format!("{AUDIENCE}{cloud}"))
            .to_vec(),
        ..Resource::new("", EXCHANGE)
    };
    vec![
        graph,
        exchange,
        Resource::new("api://AzureFMITokenExchange", "a9dd8a2a-df54-4ae0-84f9-38c8d57e5265"),
        Resource::new("https://vault.azure.net", "cfa8b339-82a2-471a-a3c9-0fc0be7a4093").version_1(),
        Resource::new("https://management.azure.com", "797f4846-ba00-4fd7-ba43-dac1f8f63013").version_1(),
        Resource::new("https://storage.azure.com", "e406a681-f3d4-42a8-90b6-c2b029497af1").version_1(),
    ]
}

/// What the files of a data directory speak of.
pub(crate) struct Site<'a> {
    pub(crate) directory: &'a Path,
    pub(crate) address: SocketAddr,
    pub(crate) now_unix: u64,
}

/// Fills a data directory: registrations and credentials where there are no registrations yet; the settings of
/// the sample applications and a federated assertion every time, since they name address and time.
pub(crate) fn write(site: &Site<'_>, federation: &FederationIssuer) -> Result<(), StartError> {
    let path = site.directory.join(registration_file::FILE);
    if files::read_if_there(&path)?.is_none() {
        credentials(site)?;
        let secrets = std::array::from_fn(|_| random_secret());
        files::write_private(&path, pretty(&registrations(&secrets)).as_bytes())?;
    }
    let day = FederatedAssertion::new(FEDERATED_SUBJECT).lifetime_seconds(24 * 60 * 60);
    let assertion = federation.issue(&day, site.now_unix);
    files::write_private(&site.directory.join("federated-assertion.jwt"), assertion.as_bytes())?;
    settings(site)
}

/// Writes what the sample users call the sample APIs with, good for a day: `user-assertion-{user}.jwt` for the web
/// API, `user-assertion-{user}-{name}.jwt` for the others.
pub(crate) fn write_user_assertions(directory: &Path, state: &State) -> Result<(), StartError> {
    for (name, user) in [("alice", sample::ALICE_OBJECT_ID), ("bob", sample::BOB_OBJECT_ID)] {
        for (api, client_id) in [
            ("", sample::WEB_API),
            ("-web-api-certificate", sample::WEB_API_CERTIFICATE),
            ("-web-api-bound", sample::WEB_API_BOUND),
            ("-blueprint", sample::BLUEPRINT),
            ("-blueprint-bound", sample::BLUEPRINT_BOUND),
        ] {
            // Alice and Bob are always there; registrations may change them, not remove them.
            let token = UserToken::new(user, client_id).lifetime_seconds(24 * 60 * 60);
            let Ok(token) = token.mint(state) else { continue };
            let path = directory.join(format!("user-assertion-{name}{api}.jwt"));
            files::write_private(&path, token.as_bytes())?;
        }
    }
    Ok(())
}

fn credentials(site: &Site<'_>) -> Result<(), StartError> {
    let now = site.now_unix;
    let client = CertificateRequest::new(SUBJECT, now).self_signed()?;
    put(site, "client", &client)?;
    files::write_private(&site.directory.join("client.pfx"), &client.pfx(PFX_PASSWORD)?)?;
    let issuer = ClientCertificateIssuer::new(ISSUER, now)?;
    files::write(&site.directory.join("client-issuer.pem"), issuer.pem().as_bytes())?;
    put(site, "client-chain", &issuer.issue(&CertificateRequest::new(SUBJECT, now))?)?;
    let day = 24 * 60 * 60;
    let expired = CertificateRequest::new("expired.contoso.test", now)
        .valid(now.saturating_sub(30 * day), now.saturating_sub(day))
        .self_signed()?;
    put(site, "client-expired", &expired)
}

/// `{name}.pem` with key and chain, `{name}.crt` with the chain alone.
fn put(site: &Site<'_>, name: &str, certificate: &ClientCertificate) -> Result<(), StartError> {
    files::write_private(&site.directory.join(format!("{name}.pem")), certificate.pem().as_bytes())?;
    files::write(&site.directory.join(format!("{name}.crt")), certificate.certificate_pem().as_bytes())
}

fn registrations(secrets: &[String; 5]) -> Value {
    let [secret, expired, refresh, web_api, blueprint] = secrets;
    let client = json!([{ "file": "client.crt" }]);
    json!({
        "trustedIssuers": ["client-issuer.pem"],
        "applications": [
            { "clientId": sample::SECRET, "name": "secret", "secrets": [{ "value": secret }] },
            { "clientId": sample::CERTIFICATE, "name": "certificate", "certificates": client },
            {
                "clientId": sample::SUBJECT_NAME, "name": "subject-name", "mtls": true, "pop": true,
                "subjectNames": [{ "subject": SUBJECT, "issuer": ISSUER }],
            },
            { "clientId": sample::BOUND, "name": "bound", "mtls": true, "pop": true, "certificates": client },
            { "clientId": sample::MTLS, "name": "mtls", "mtls": true, "certificates": client },
            {
                "clientId": sample::FEDERATED, "name": "federated", "mtls": true, "pop": true,
                "federatedCredentials":
                    [{ "issuer": FEDERATION_ISSUER, "subject": FEDERATED_SUBJECT, "audience": AUDIENCE }],
            },
            {
                "clientId": sample::STRICT, "name": "strict", "mtls": true, "pop": true, "strict": true,
                "certificates": client,
            },
            {
                "clientId": sample::EXPIRED_SECRET, "name": "expired-secret",
                "secrets": [{ "value": expired, "expires": "2020-01-01T00:00:00Z" }],
            },
            {
                "clientId": sample::EXPIRED_CERTIFICATE, "name": "expired-certificate", "mtls": true, "pop": true,
                "certificates": [{ "file": "client-expired.crt" }],
            },
            {
                "clientId": sample::REFRESH, "name": "refresh", "secrets": [{ "value": refresh }],
                "tokenLifetimeSeconds": 86400, "refreshInSeconds": 43200,
            },
            {
                "clientId": sample::WEB_API, "name": "web-api", "secrets": [{ "value": web_api }],
                "identifierUris": ["api://contoso-web-api"], "redirectUris": [REDIRECT_URI],
                "scopes": ["access_as_user"], "namesUsers": true,
            },
            {
                "clientId": sample::WEB_API_CERTIFICATE, "name": "web-api-certificate", "certificates": client,
                "redirectUris": [REDIRECT_URI], "scopes": ["access_as_user"], "namesUsers": true,
            },
            {
                "clientId": sample::WEB_API_BOUND, "name": "web-api-bound", "certificates": client,
                "redirectUris": [REDIRECT_URI], "scopes": ["access_as_user"], "mtls": true, "pop": true,
                "namesUsers": true,
            },
            {
                "clientId": sample::BLUEPRINT, "name": "blueprint", "secrets": [{ "value": blueprint }],
                "scopes": ["access_as_user"],
            },
            {
                "clientId": sample::BLUEPRINT_BOUND, "name": "blueprint-bound", "certificates": client,
                "scopes": ["access_as_user"], "mtls": true, "pop": true, "mtlsFlows": Flow::ALL,
            },
            { "clientId": sample::AGENT_ONE, "name": "agent-one", "agentOf": sample::BLUEPRINT },
            { "clientId": sample::AGENT_TWO, "name": "agent-two", "agentOf": sample::BLUEPRINT },
            {
                "clientId": sample::BOUND_AGENT, "name": "bound-agent", "agentOf": sample::BLUEPRINT_BOUND,
                "mtls": true, "pop": true, "mtlsFlows": Flow::ALL,
            },
        ],
    })
}

/// Writes `appsettings-{name}.json` for each sample application that is still registered.
fn settings(site: &Site<'_>) -> Result<(), StartError> {
    let path = site.directory.join(registration_file::FILE);
    let text = fs::read_to_string(&path).map_err(|error| StartError::file(&path, error))?;
    // A file that is wrong is reported when it is read as registrations.
    let document: Value = serde_json::from_str(&text).unwrap_or_default();
    let secret_of = |client_id: &str| {
        let applications = document.get("applications")?.as_array()?;
        let found =
            applications.iter().find(|app| app.get("clientId").and_then(Value::as_str) == Some(client_id))?;
        found.pointer("/secrets/0/value")?.as_str().map(str::to_owned)
    };
    let file = |name: &str| site.directory.join(name).display().to_string();
    let pem = |name: &str| json!({ "SourceType": "Path", "CertificateDiskPath": file(name) });
    let bound = |mut credential: Value| {
        credential["UseBoundCredential"] = json!(true);
        credential
    };
    let secret = |client_id: &str| {
        secret_of(client_id).map(|value| json!({ "SourceType": "ClientSecret", "ClientSecret": value }))
    };
    let pfx = json!({
        "SourceType": "Path", "CertificateDiskPath": file("client.pfx"), "CertificatePassword": PFX_PASSWORD,
    });
    let assertion = json!({
        "SourceType": "SignedAssertionFilePath", "SignedAssertionFileDiskPath": file("federated-assertion.jwt"),
    });
    let all = [
        ("secret", sample::SECRET, secret(sample::SECRET)),
        ("certificate", sample::CERTIFICATE, Some(pem("client.pem"))),
        ("certificate-pfx", sample::CERTIFICATE, Some(pfx)),
        ("subject-name", sample::SUBJECT_NAME, Some(pem("client-chain.pem"))),
        ("bound", sample::BOUND, Some(bound(pem("client.pem")))),
        ("mtls", sample::MTLS, Some(bound(pem("client.pem")))),
        ("federated", sample::FEDERATED, Some(assertion)),
        ("strict", sample::STRICT, Some(pem("client.pem"))),
        ("expired-secret", sample::EXPIRED_SECRET, secret(sample::EXPIRED_SECRET)),
        ("expired-certificate", sample::EXPIRED_CERTIFICATE, Some(pem("client-expired.pem"))),
        ("refresh", sample::REFRESH, secret(sample::REFRESH)),
        ("web-api", sample::WEB_API, secret(sample::WEB_API)),
        ("web-api-certificate", sample::WEB_API_CERTIFICATE, Some(pem("client.pem"))),
        ("web-api-bound", sample::WEB_API_BOUND, Some(bound(pem("client.pem")))),
        ("blueprint", sample::BLUEPRINT, secret(sample::BLUEPRINT)),
        ("blueprint-bound", sample::BLUEPRINT_BOUND, Some(bound(pem("client.pem")))),
    ];
    for (name, client_id, credential) in all {
        let Some(credential) = credential else { continue };
        let document = json!({
            "AzureAd": {
                "Instance": "https://login.microsoftonline.com/",
                "TenantId": CONTOSO,
                "ClientId": client_id,
                "SendX5C": name == "subject-name",
                "ClientCredentials": [credential],
            },
            "Symbolon": { "ConnectTo": connect_to(site.address), "TrustedRoots": [file("ca.pem")] },
        });
        let path = site.directory.join(format!("appsettings-{name}.json"));
        files::write_private(&path, pretty(&document).as_bytes())?;
    }
    Ok(())
}

fn connect_to(address: SocketAddr) -> Value {
    let patterns = Hosts::new(&[]).patterns();
    Value::Object(patterns.into_iter().map(|pattern| (pattern, json!(address.to_string()))).collect())
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}
