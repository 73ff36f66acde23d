//! Every flow of `symbolon token`, in steps that share a process.

use std::fs;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use symbolon_authority::{REDIRECT_URI, SamlAssertion, Source, sample};

use crate::site::{CANARY, Ran, SCOPE, Site, command, run};

const USER_READ: &str = "https://graph.microsoft.com/User.Read";
const MAIL_READ: &str = "https://graph.microsoft.com/Mail.Read";
const EXCHANGE: &str = "api://AzureADTokenExchange/.default";
const ALICES_ACCOUNT: &str = "a11ce000-0000-4000-8000-000000000001.aaaabbbb-0000-cccc-1111-dddd2222eeee";
const BOBS_ACCOUNT: &str = "b0b00000-0000-4000-8000-000000000002.aaaabbbb-0000-cccc-1111-dddd2222eeee";

#[test]
fn identities_of_the_machine() {
    const OBJECT: &str = "88888888-0000-4000-8000-000000000002";
    const ASSIGNED: &str = "88888888-0000-4000-8000-000000000003";
    const ASSIGNED_OBJECT: &str = "88888888-0000-4000-8000-000000000004";
    let site = Site::start();
    let identities = [("88888888-0000-4000-8000-000000000001", OBJECT), (ASSIGNED, ASSIGNED_OBJECT)];
    let platform = site.platform(identities);
    let configuration = site.edited("secret", |settings| {
        settings["Symbolon"]["AllowUnattestedKeys"] = true.into();
    });
    let file = site.path("steps.json");
    let steps = json!([
        { "flow": "for-managed-identity", "scope": SCOPE },
        { "flow": "for-managed-identity", "scope": "https://graph.microsoft.com", "managedIdentityClientId": ASSIGNED },
        { "flow": "for-managed-identity", "scope": SCOPE, "managedIdentityObjectId": ASSIGNED_OBJECT },
        { "flow": "for-managed-identity", "scope": SCOPE, "scheme": "mtls-pop" },
        { "flow": "for-managed-identity", "scope": SCOPE },
        { "flow": "for-managed-identity", "scope": SCOPE, "managedIdentityResourceId": "/unknown" },
    ]);
    fs::write(&file, steps.to_string()).unwrap();
    let ran = run(command()
        .args(["token", "--config", configuration.to_str().unwrap(), "--steps", file.to_str().unwrap()])
        .envs(platform.environment(Source::Imds)));
    let lines = lines(&ran);
    let of = |line: &Value| {
        let payload = line["accessToken"].as_str()?.split('.').nth(1)?;
        let claims = BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        let source = line["metadata"]["tokenSource"].as_str()?.to_owned();
        Some((claims["oid"].as_str()?.to_owned(), line["tokenType"].as_str()?.to_owned(), source))
    };
    let token = |object: &str, kind: &str, source: &str| Some((object.into(), kind.into(), source.into()));
    let expected = [
        token(OBJECT, "Bearer", "identityProvider"),
        token(ASSIGNED_OBJECT, "Bearer", "identityProvider"),
        token(ASSIGNED_OBJECT, "Bearer", "identityProvider"),
        token(OBJECT, "mtls_pop", "identityProvider"),
        token(OBJECT, "Bearer", "cache"),
        None,
    ];
    assert_eq!(lines.iter().map(of).collect::<Vec<_>>(), expected);
    assert!(lines[3]["bindingCertificate"]["x5t#S256"].is_string());
    assert_eq!(lines[5]["error"]["code"], "managed_identity_request_failed");
    assert_eq!(ran.status, 3);
}

/// Runs steps with one of the ready-made configurations.
fn steps(site: &Site, configuration: &str, steps: &Value) -> Ran {
    let file = site.path("steps.json");
    fs::write(&file, steps.to_string()).unwrap();
    let configuration = site.configuration(configuration);
    site.run(&["token", "--config", configuration.to_str().unwrap(), "--steps", file.to_str().unwrap()])
}

fn lines(ran: &Ran) -> Vec<Value> {
    ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What each line comes to: where a token came from and whose it is, or what else there is to tell.
fn outlines(ran: &Ran) -> Vec<String> {
    let outline = |line: Value| match (line["accessToken"].as_str(), line["error"].as_object()) {
        (Some(_), _) => {
            let source = line["metadata"]["tokenSource"].as_str().unwrap();
            let user = line["account"]["username"].as_str().unwrap_or("-");
            format!("{source} {user}")
        }
        (None, Some(error)) => {
            format!("{} {} {}", error["exitStatus"], error["kind"].as_str().unwrap(), error["code"])
        }
        (None, None) => line.to_string(),
    };
    lines(ran).into_iter().map(outline).collect()
}

/// The grants that the authority saw.
fn grants(site: &Site) -> Vec<String> {
    let grant = |text: &str| text.rsplit(':').next().unwrap().to_owned();
    site.authority.log().iter().map(|entry| grant(entry.form_text("grant_type").unwrap())).collect()
}

#[test]
fn every_flow_of_users_in_one_process() {
    let site = Site::start();
    let code = site.code(sample::ALICE, sample::WEB_API);
    for (file, text) in [
        ("code", code.as_str()),
        ("password", "bob's password\n"),
        ("refresh-token", &site.authority.refresh_token(sample::WEB_API, sample::ALICE).unwrap()),
        ("exchange-token", &site.exchange_token()),
    ] {
        fs::write(site.path(file), text).unwrap();
    }
    let before = site.authority.log().len();
    let ran = steps(
        &site,
        "web-api",
        &json!([
            { "flow": "for-client", "scope": "https://graph.microsoft.com/.default" },
            { "flow": "on-behalf-of", "scopes": [USER_READ], "userAssertionFile": "user-assertion-alice.jwt" },
            { "flow": "on-behalf-of", "scopes": USER_READ, "userAssertionFile": "user-assertion-alice.jwt" },
            { "flow": "on-behalf-of", "scopes": USER_READ, "userAssertionFile": "user-assertion-bob.jwt" },
            { "flow": "accounts" },
            { "flow": "silent", "scope": USER_READ },
            { "flow": "by-authorization-code", "scope": USER_READ, "codeFile": "code", "redirectUri": REDIRECT_URI },
            { "flow": "silent", "scope": USER_READ },
            { "flow": "silent", "scope": MAIL_READ, "forceRefresh": true },
            { "flow": "by-username-password", "scope": USER_READ, "username": sample::BOB, "passwordFile": "password" },
            { "flow": "silent", "scope": USER_READ },
            { "flow": "silent", "scope": USER_READ, "account": ALICES_ACCOUNT },
            { "flow": "accounts" },
            { "flow": "remove-account" },
            { "flow": "silent", "scope": USER_READ },
            { "flow": "silent", "scope": USER_READ, "account": BOBS_ACCOUNT },
            { "flow": "remove-account", "account": ALICES_ACCOUNT },
            { "flow": "by-refresh-token", "scope": USER_READ, "refreshTokenFile": "refresh-token" },
            { "flow": "silent", "scope": USER_READ },
            {
                "flow": "by-user-federated-identity-credential", "scope": USER_READ,
                "userId": sample::BOB_OBJECT_ID, "federatedAssertionFile": "exchange-token",
            },
            { "flow": "silent", "scope": USER_READ },
        ]),
    );
    let (alice, bob) = (
        json!({ "homeAccountId": ALICES_ACCOUNT, "username": sample::ALICE }),
        json!({ "homeAccountId": BOBS_ACCOUNT, "username": sample::BOB }),
    );
    let mut outlines = outlines(&ran);
    let mut accounts: Value = serde_json::from_str(&std::mem::take(&mut outlines[12])).unwrap();
    let accounts = accounts["accounts"].as_array_mut().unwrap();
    accounts.sort_by_key(ToString::to_string);
    assert_eq!(*accounts, [alice, bob]);
    let unknown = r#"3 interaction-required "no_tokens_found""#;
    assert_eq!(
        outlines,
        [
            "identityProvider -",
            "identityProvider alice@contoso.com",
            "cache alice@contoso.com",
            "identityProvider bob@contoso.com",
            r#"{"accounts":[]}"#,
            unknown,
            "identityProvider alice@contoso.com",
            "cache alice@contoso.com",
            "identityProvider alice@contoso.com",
            "identityProvider bob@contoso.com",
            "cache bob@contoso.com",
            "cache alice@contoso.com",
            "",
            r#"{"removed":true}"#,
            unknown,
            unknown,
            r#"{"removed":true}"#,
            "identityProvider alice@contoso.com",
            "cache alice@contoso.com",
            "identityProvider bob@contoso.com",
            "cache bob@contoso.com",
        ]
    );
    assert_eq!(
        grants(&site)[before..],
        [
            "client_credentials",
            "jwt-bearer",
            "jwt-bearer",
            "authorization_code",
            "refresh_token",
            "password",
            "refresh_token",
            "user_fic"
        ]
    );
    assert_eq!(ran.status, 3);
    let named = site.authority.log().pop().unwrap();
    assert_eq!(named.form_text("user_id"), Some(sample::BOB_OBJECT_ID));
}

#[test]
fn a_long_running_process_goes_on_until_it_is_stopped() {
    let site = Site::start();
    let (alice, bob) = ("user-assertion-alice.jwt", "user-assertion-bob.jwt");
    let ran = steps(
        &site,
        "web-api",
        &json!([
            { "flow": "long-running", "scope": USER_READ, "userAssertionFile": alice },
            { "flow": "long-running", "scope": USER_READ },
            { "flow": "long-running", "scope": MAIL_READ },
            { "flow": "long-running", "scope": USER_READ, "userAssertionFile": bob, "sessionKey": "AllocateForMe" },
            { "flow": "long-running", "scope": USER_READ },
            { "flow": "long-running", "scope": USER_READ, "userAssertionFile": alice, "sessionKey": "mine" },
            { "flow": "long-running", "scope": USER_READ, "userAssertionFile": alice, "sessionKey": "mine", "searchInCache": true },
            { "flow": "long-running", "scope": USER_READ, "userAssertionFile": bob, "sessionKey": "mine" },
            { "flow": "stop-long-running" },
            { "flow": "long-running", "scope": USER_READ },
            { "flow": "stop-long-running", "sessionKey": "mine" },
            { "flow": "long-running", "scope": USER_READ, "sessionKey": "unheard-of" },
        ]),
    );
    let unknown = r#"3 interaction-required "obo_cache_key_not_in_cache_error""#;
    assert_eq!(
        outlines(&ran),
        [
            "identityProvider alice@contoso.com",
            "cache alice@contoso.com",
            "identityProvider alice@contoso.com",
            "identityProvider bob@contoso.com",
            "cache bob@contoso.com",
            "identityProvider alice@contoso.com",
            "cache alice@contoso.com",
            r#"2 invalid-request "session-key-in-use""#,
            r#"{"stopped":true}"#,
            unknown,
            r#"{"stopped":false}"#,
            unknown,
        ]
    );
    assert_eq!(grants(&site)[..3], ["jwt-bearer", "refresh_token", "jwt-bearer"]);
    let keys: Vec<_> = lines(&ran).iter().map(|line| line["longRunningSessionKey"].clone()).collect();
    let (alices, bobs) = (keys[0].as_str().unwrap(), keys[3].as_str().unwrap());
    assert_eq!((alices.len(), bobs.len()), (43, 43), "base64url of a SHA-256");
    assert!(alices != bobs && keys[1] == alices && keys[2] == alices && keys[4] == bobs);
    assert_eq!((&keys[5], &keys[6]), (&json!("mine"), &json!("mine")));
    // The first failure is the refusal of the key.
    assert_eq!(ran.status, 2);
}

#[test]
fn agents_act_for_themselves_for_a_user_of_their_own_and_on_behalf_of_a_user() {
    let site = Site::start();
    let agent = sample::AGENT_ONE;
    let assertion = "user-assertion-bob-blueprint.jwt";
    let ran = steps(
        &site,
        "blueprint",
        &json!([
            { "flow": "for-agent", "agent": agent, "scope": "https://graph.microsoft.com/.default" },
            { "flow": "for-agent", "agent": agent, "scope": USER_READ, "agentUsername": sample::ALICE },
            { "flow": "for-agent", "agent": agent, "scope": USER_READ, "agentUserId": sample::ALICE_OBJECT_ID },
            { "flow": "for-agent", "agent": agent, "scope": USER_READ, "userAssertionFile": assertion },
            { "flow": "for-agent", "agent": agent, "scope": USER_READ, "userAssertionFile": assertion },
            {
                "flow": "for-agent", "agent": agent, "scope": USER_READ, "agentUsername": sample::BOB,
                "agentUserId": sample::ALICE_OBJECT_ID,
            },
            { "flow": "accounts" },
        ]),
    );
    let outlines = outlines(&ran);
    assert_eq!(
        (&*outlines[0], &*outlines[1], &*outlines[3], &*outlines[4], &*outlines[5], &*outlines[6]),
        (
            "identityProvider -",
            "identityProvider alice@contoso.com",
            "identityProvider bob@contoso.com",
            "cache bob@contoso.com",
            "identityProvider bob@contoso.com",
            r#"{"accounts":[]}"#,
        )
    );
    assert!(outlines[2].ends_with("alice@contoso.com"), "{outlines:?}");
    let grants = grants(&site);
    assert_eq!(grants[..4], ["client_credentials", "client_credentials", "client_credentials", "user_fic"]);
    assert_eq!(site.authority.log().pop().unwrap().form_text("username"), Some(sample::BOB));
    let warning: Value = serde_json::from_str(&ran.stderr).unwrap();
    let warning = warning["warning"].as_str().unwrap();
    assert!(
        warning.ends_with("steps.json: [5].agentUserId: not used, as agentUsername says who it is"),
        "{warning}"
    );
    assert_eq!(ran.status, 0);
}

#[test]
fn a_certificate_is_presented_in_the_flows_that_are_bound() {
    let site = Site::start();
    let bound = sample::BOUND_AGENT;
    fs::write(site.path("password"), sample::ALICE_PASSWORD).unwrap();
    let configuration = site.edited("blueprint-bound", |json| {
        json["Symbolon"]["BoundFlows"] = json!(["for-agent", "by-username-password"]);
    });
    let file = site.path("steps.json");
    let steps = json!([
        { "flow": "on-behalf-of", "userAssertionFile": "user-assertion-alice-blueprint-bound.jwt" },
        { "flow": "by-username-password", "username": sample::ALICE, "passwordFile": "password" },
        { "flow": "for-agent", "agent": bound, "agentUsername": sample::ALICE },
        { "flow": "on-behalf-of", "userAssertionFile": "user-assertion-alice-blueprint-bound.jwt", "scheme": "mtls-pop" },
    ]);
    fs::write(&file, steps.to_string()).unwrap();
    let arguments = ["token", "--config", configuration.to_str().unwrap(), "--scope", USER_READ, "--steps"];
    let ran = site.run(&[&arguments, &[file.to_str().unwrap()][..]].concat());
    let lines = lines(&ran);
    assert!(lines[..3].iter().all(|line| line["tokenType"] == "Bearer"), "{ran:?}");
    // A user's token can't be bound; nobody is asked for one.
    assert_eq!((&lines[3]["error"]["kind"], ran.status), (&json!("invalid-request"), 2));
    let log = site.authority.log();
    assert_eq!(log.len(), 5);
    for entry in log {
        assert_eq!(
            (entry.host.as_str(), entry.client_certificate.is_some()),
            ("mtlsauth.microsoft.com", true)
        );
    }
}

#[test]
fn a_sign_in_brings_what_was_asked_for() {
    let site = Site::start();
    fs::write(site.path("code"), site.code(sample::ALICE, sample::WEB_API)).unwrap();
    let configuration = site.configuration("web-api");
    let code = site.path("code");
    let arguments = [
        "token",
        "--config",
        configuration.to_str().unwrap(),
        "--flow",
        "by-authorization-code",
        "--code-file",
        code.to_str().unwrap(),
        "--redirect-uri",
        REDIRECT_URI,
        "--spa-code",
        "--output",
        "json",
    ];
    let token = site.run(&arguments).json();
    let members: Vec<_> = token.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        members.join(" "),
        "accessToken account bindingCertificate correlationId expiresOn idToken longRunningSessionKey metadata scopes \
         spaCode tenantId tokenType"
    );
    assert!(token["spaCode"].is_string() && token["idToken"].as_str().unwrap().starts_with("ey"), "{token}");
    assert_eq!(token["account"], json!({ "homeAccountId": ALICES_ACCOUNT, "username": sample::ALICE }));

    // A code is good for one redemption.
    let error = site.run(&arguments).failed(3);
    let error: Value = serde_json::from_str(&error).unwrap();
    assert_eq!(error["error"]["aadstsCodes"], json!([54005]));
}

#[test]
fn flags_of_flows_change_the_request() {
    let site = Site::start();
    let saml = site.authority.saml_assertion(&SamlAssertion::new(sample::ALICE, sample::WEB_API)).unwrap();
    fs::write(site.path("saml"), saml).unwrap();
    let ran = steps(
        &site,
        "web-api",
        &json!([
            {
                "flow": "on-behalf-of", "scope": USER_READ, "userAssertionFile": "saml", "assertionKind": "saml-2.0",
                "clientClaims": "{\"access_token\":{\"xms_test\":null}}", "tenant": "contoso.com",
            },
            { "flow": "for-client", "scope": EXCHANGE, "fmiPath": "a/b" },
        ]),
    );
    assert_eq!(
        outlines(&ran),
        ["identityProvider alice@contoso.com", "identityProvider -"],
        "{}",
        ran.stderr
    );
    let log = site.authority.log();
    assert_eq!(log[0].form_text("grant_type"), Some("urn:ietf:params:oauth:grant-type:saml2-bearer"));
    assert_eq!(log[0].tenant.as_deref(), Some("contoso.com"));
    assert!(log[0].form_text("claims").unwrap().contains("xms_test"));
    assert_eq!(log[1].form_text("fmi_path"), Some("a/b"));
}

#[test]
fn a_user_assertion_may_come_from_standard_input() {
    let site = Site::start();
    let configuration = site.configuration("web-api");
    let assertion = fs::File::open(site.path("user-assertion-alice.jwt")).unwrap();
    let mut command = crate::site::command();
    command.args([
        "token",
        "--scope",
        USER_READ,
        "--flow",
        "on-behalf-of",
        "--user-assertion-file",
        "-",
        "--config",
    ]);
    let ran = crate::site::run(command.arg(configuration).stdin(assertion));
    assert!(ran.ok().starts_with("ey"));
}

#[test]
fn what_files_hold_is_in_no_log_and_no_error() {
    let site = Site::start();
    fs::write(site.path("canary"), CANARY).unwrap();
    for (configuration, step) in [
        ("web-api", json!({ "flow": "on-behalf-of", "userAssertionFile": "canary" })),
        ("web-api", json!({ "flow": "long-running", "userAssertionFile": "canary" })),
        ("web-api", json!({ "flow": "by-refresh-token", "refreshTokenFile": "canary" })),
        (
            "web-api",
            json!({ "flow": "by-authorization-code", "codeFile": "canary", "codeVerifierFile": "canary", "redirectUri": REDIRECT_URI }),
        ),
        (
            "web-api",
            json!({ "flow": "by-username-password", "username": sample::ALICE, "passwordFile": "canary" }),
        ),
        (
            "web-api",
            json!({ "flow": "by-user-federated-identity-credential", "username": sample::ALICE, "federatedAssertionFile": "canary" }),
        ),
        (
            "blueprint",
            json!({ "flow": "for-agent", "agent": sample::AGENT_ONE, "userAssertionFile": "canary" }),
        ),
    ] {
        let file = site.path("steps.json");
        fs::write(&file, json!([step]).to_string()).unwrap();
        let arguments = ["--log", "trace", "--steps", file.to_str().unwrap()];
        let ran = site.token(&site.configuration(configuration), &arguments);
        assert!(ran.status == 3 && ran.stderr.contains("TRACE"), "{step}: {ran:?}");
    }
}
