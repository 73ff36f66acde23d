//! Components that have an application's credentials, each in a sandbox of its own: what works with keys in the host works
//! with keys in a component.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use symbolon::{Application, CertificateAction, CertificateEvent, DeselectionReason, Error, Symbolon};
use symbolon_authority::{CertificateRequest, LogEntry, Registration, sample};
use symbolon_end_to_end::keys::{CREDENTIAL_PROVIDER, HOSTILE_PROVIDER, Keys, PASSPHRASE, encrypted};
use symbolon_end_to_end::{GRAPH, HOSTILE_GUEST, World, engine, engine_with, hostile_engine, order};

use crate::{bound_flows, client_credentials};

async fn world() -> World {
    World::start().await.with_keys(Keys::Component)
}

#[tokio::test]
async fn assertions_are_signed_in_the_component() {
    client_credentials::certificate(&world().await).await;
}

#[tokio::test]
async fn the_chain_of_its_file_goes_with_the_assertion() {
    client_credentials::subject_name_and_issuer(&world().await).await;
}

#[tokio::test]
async fn handshakes_are_completed_by_the_component() {
    client_credentials::mutual_tls(&world().await).await;
}

#[tokio::test]
async fn tokens_are_bound_to_its_certificate() {
    client_credentials::proof_of_possession(&world().await).await;
}

#[tokio::test]
async fn strict_authorities_are_content() {
    client_credentials::strict(&world().await).await;
}

#[tokio::test]
async fn every_bound_flow_works() {
    bound_flows::all_are_bound(&world().await).await;
}

/// The component of the settings' first provider.
fn provider(settings: &mut Value) -> &mut Value {
    &mut settings["Symbolon"]["CredentialProviders"]["keys-0"]
}

/// Why the only credential can't be used, in words.
fn reason(error: Error) -> String {
    let text = error.to_string();
    assert!(text.contains("CustomSignedAssertion keys-0"), "{text}");
    text
}

async fn refused(world: &World, symbolon: &Symbolon, change: impl FnOnce(&mut Value)) -> String {
    let application = world.application_with(symbolon, "certificate", change);
    reason(application.acquire_token_for_client([GRAPH]).await.expect_err("no credential"))
}

#[tokio::test]
async fn what_is_no_such_component_is_named() {
    let (world, symbolon) = (world().await, engine());
    std::fs::write(world.path("guest.wasm"), HOSTILE_GUEST).expect("a file");
    std::fs::write(world.path("text.wasm"), "(component)").expect("a file");
    std::fs::write(world.path("damaged.wasm"), &CREDENTIAL_PROVIDER[..1000]).expect("a file");
    for (file, expected) in [
        ("guest.wasm", "found a component that imports wasi:io/"),
        ("guest.wasm", "accepted: one without imports"),
        ("text.wasm", "found a file that is no WebAssembly"),
        ("damaged.wasm", "accepted: a component of the world symbolon:credentials/credential-provider@0.1.0"),
        ("missing.wasm", "found no file at"),
    ] {
        let component = world.path(file);
        let seen = refused(&world, &symbolon, |settings| provider(settings)["Component"] = json!(component));
        let seen = seen.await;
        assert!(seen.contains(expected), "{file}: {seen}");
    }
    let seen =
        refused(&world, &symbolon, |settings| provider(settings)["Sha256"] = "00".repeat(32).into()).await;
    assert!(
        seen.contains("found a component of the digest ") && seen.contains("accepted: that of Sha256"),
        "{seen}"
    );
    let digest =
        seen.split("digest ").nth(1).and_then(|rest| rest.split(';').next()).expect("the digest").to_owned();
    let application = world.application_with(&symbolon, "certificate", |settings| {
        provider(settings)["Sha256"] = digest.to_uppercase().into();
    });
    application.acquire_token_for_client([GRAPH]).await.expect("a token with the right digest");
}

#[tokio::test]
async fn what_the_component_is_given_and_cannot_use_is_named() {
    let (world, symbolon) = (world().await, engine());
    type Change = fn(&mut Value);
    let cases: [(&str, Change); 3] = [
        ("found a private key that this passphrase doesn't open", |p| {
            p["Settings"]["Passphrase"] = "x".into()
        }),
        ("found no passphrase; accepted: the setting \"Passphrase\"", |p| p["Settings"] = json!({})),
        ("found no file \"keys\"; accepted: a PEM file", |p| p["Files"] = json!({})),
    ];
    for (expected, change) in cases {
        let seen = refused(&world, &symbolon, |settings| change(provider(settings))).await;
        assert!(seen.contains(expected), "{seen}");
        assert!(!seen.contains(PASSPHRASE), "{seen}");
    }
    // The passphrase may be in a file of its own, or in the entry.
    std::fs::write(world.path("passphrase"), format!("{PASSPHRASE}\n")).expect("a file");
    let file = world.path("passphrase");
    let by_file = world.application_with(&symbolon, "certificate", |settings| {
        provider(settings)["Settings"] = json!({});
        provider(settings)["Files"]["passphrase"] = json!(file);
    });
    by_file.acquire_token_for_client([GRAPH]).await.expect("a token");
    let by_entry = world.application_with(&symbolon, "strict", |settings| {
        provider(settings)["Settings"]["Passphrase"] = "another".into();
        settings["AzureAd"]["ClientCredentials"][0]["CustomSignedAssertionProviderData"] =
            json!({ "Passphrase": PASSPHRASE });
    });
    by_entry.acquire_token_for_client([GRAPH]).await.expect("a token");
}

#[tokio::test]
async fn another_entry_stands_in_for_a_component_that_fails() {
    let (world, symbolon) = (world().await, engine());
    let other = World::settings(&world, "web-api")["AzureAd"]["ClientCredentials"][0].clone();
    let application = world.application_with(&symbolon, "web-api-certificate", |settings| {
        provider(settings)["Settings"] = json!({});
        let entries = settings["AzureAd"]["ClientCredentials"].as_array_mut().expect("entries");
        entries.push(other);
        settings["AzureAd"]["ClientId"] = sample::WEB_API.into();
    });
    let (token, seen) = world.seen(application.acquire_token_for_client([GRAPH])).await;
    token.expect("a token by the secret");
    assert!(seen[0].form_names().any(|name| name == "client_secret"));
}

/// A world with the hostile component in the place of the sample's credential.
async fn hostile(sample: &str, symbolon: &Symbolon, settings: Value) -> (World, Application) {
    let world = World::start().await;
    let application = hostile_in(&world, sample, symbolon, settings);
    (world, application)
}

/// A certificate whose key nobody has.
fn write_certificate(world: &World) {
    let certificate = CertificateRequest::new("x.contoso.test", world.authority.clock().now_unix());
    let pem = certificate.self_signed().expect("a certificate").certificate_pem();
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
    std::fs::write(world.path("certificate.der"), der).expect("a file");
}

fn hostile_in(world: &World, sample: &str, symbolon: &Symbolon, given: Value) -> Application {
    let component = world.path("hostile-provider.wasm");
    std::fs::write(&component, HOSTILE_PROVIDER).expect("the component");
    let options = world.options(sample, |settings| {
        settings["AzureAd"]["ClientCredentials"] = json!([{
            "SourceType": "CustomSignedAssertion", "CustomSignedAssertionProviderName": "keys-0",
        }]);
        let files = json!({ "assertion": "federated-assertion.jwt", "certificate": "certificate.der" });
        *provider(settings) = json!({ "Component": component, "Settings": given });
        if world.path("certificate.der").exists() {
            provider(settings)["Files"] = files;
        } else {
            provider(settings)["Files"] = json!({ "assertion": files["assertion"] });
        }
    });
    symbolon.application(options.expect("options")).expect("an application")
}

#[tokio::test]
async fn each_attack_ends_in_an_error_of_its_own() {
    let symbolon = engine_with(|builder| {
        builder.credential_provider_cpu(Duration::from_millis(200)).credential_provider_memory(8 << 20)
    });
    for (attack, expected) in [
        ("spin", "it ran for longer than 200ms"),
        ("allocate", "it wanted more than 8388608 bytes of memory"),
        ("recurse", "its stack overflowed"),
        ("trap", "it trapped (wasm trap: wasm `unreachable` instruction executed)"),
    ] {
        let (_world, application) = hostile("certificate", &symbolon, json!({ "Order": attack })).await;
        let error = application.acquire_token_for_client([GRAPH]).await.expect_err("no credential");
        let seen = reason(error);
        assert!(seen.contains(expected), "{attack}: {seen}");
    }
    let message = format!("line\nline {}", "x".repeat(1000));
    let given = json!({ "Order": "refuse", "Message": message });
    let (_world, application) = hostile("certificate", &symbolon, given).await;
    let error = reason(application.acquire_token_for_client([GRAPH]).await.expect_err("no credential"));
    assert!(error.contains("line line xxx") && error.len() < 800, "one line, cut: {error}");
}

/// On one thread: whoever computes in a component computes elsewhere.
#[tokio::test]
async fn a_component_that_computes_holds_up_nobody() {
    let symbolon = engine_with(|builder| builder.credential_provider_cpu(Duration::from_secs(1)));
    let world = World::start().await;
    write_certificate(&world);
    for given in [
        json!({ "Order": "spin" }),
        json!({ "Order": "certificate", "Schemes": "none", "WhenSigning": "spin" }),
    ] {
        let application = hostile_in(&world, "certificate", &symbolon, given.clone());
        let longest = async {
            let mut longest = Duration::ZERO;
            loop {
                let before = tokio::time::Instant::now();
                tokio::time::sleep(Duration::from_millis(10)).await;
                longest = longest.max(before.elapsed());
                if longest > Duration::from_millis(900) {
                    return longest;
                }
            }
        };
        tokio::select! {
            longest = longest => panic!("{given}: {longest:?} on the only thread"),
            token = application.acquire_token_for_client([GRAPH]) => {
                let error = token.expect_err("no credential").to_string();
                assert!(error.contains("it ran for longer than 1s"), "{given}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn a_key_that_is_not_the_certificates_is_not_used() {
    let world = World::start().await;
    write_certificate(&world);
    let application = hostile_in(&world, "certificate", &engine(), json!({ "Order": "certificate" }));
    let error = reason(application.acquire_token_for_client([GRAPH]).await.expect_err("no credential"));
    assert!(error.contains("doesn't match the certificate (CN=x.contoso.test)"), "{error}");
}

#[tokio::test]
async fn secrets_of_a_component_go_into_their_place() {
    let world = World::start().await;
    let secret = world.settings("secret")["AzureAd"]["ClientCredentials"][0]["ClientSecret"].clone();
    let given = json!({ "Order": "secret", "Secret": secret });
    let application = hostile_in(&world, "secret", &engine(), given);
    let (token, seen) = world.seen(application.acquire_token_for_client([GRAPH])).await;
    token.expect("a token by the secret");
    assert!(seen[0].form_names().any(|name| name == "client_secret"));
}

#[tokio::test]
async fn a_component_hears_that_its_credential_was_rejected() {
    let world = World::start().await;
    write_certificate(&world);
    let given = json!({ "Order": "certificate", "Schemes": "none" });
    let application = hostile_in(&world, "certificate", &engine(), given);
    let (token, seen) = world.seen(application.acquire_token_for_client([GRAPH])).await;
    assert_eq!(
        seen.iter().map(|request| request.status).collect::<Vec<_>>(),
        [Some(401)],
        "a wrong signature"
    );
    assert!(token.is_err());
    let next = application.acquire_token_for_client([GRAPH]).await.expect_err("nothing else");
    assert!(reason(next).contains("found that its credential was rejected"));
}

#[tokio::test]
async fn assertions_of_a_component_are_sent_as_they_are() {
    let symbolon = engine_with(|builder| builder.credential_provider_cpu(Duration::from_millis(200)));
    let (world, application) = hostile("federated", &symbolon, json!({ "Order": "assertion" })).await;
    let (token, seen) = world.seen(application.acquire_token_for_client([GRAPH])).await;
    assert_eq!(token.expect("a token").token_type(), "Bearer");
    assert!(seen[0].client_assertion().is_some());
    // It gets what the request says, and is started again after what that does to it.
    for attack in ["trap", "spin"] {
        let claims = json!({ "access_token": { attack: null } }).to_string();
        let attacked = application.acquire_token_for_client([GRAPH]).with_claims(claims).await;
        assert!(reason(attacked.expect_err("an attack")).contains("the component: it "), "{attack}");
        let next = application.acquire_token_for_client([GRAPH]).with_force_refresh(true).await;
        next.expect("a token after it");
    }
}

/// A component that has something else after each start isn't used for what it had before, and is asked again.
#[tokio::test]
async fn another_credential_is_not_taken_for_the_one_before() {
    let world = World::start().await;
    write_certificate(&world);
    let given = json!({ "Order": "fickle", "Schemes": "none" });
    let application = hostile_in(&world, "federated", &engine(), given);
    let acquire = async |claims: &str| {
        let request = application.acquire_token_for_client([GRAPH]).with_claims(claims);
        request.await.expect_err("never a token").to_string()
    };
    let error = acquire(r#"{"access_token":{"trap":null}}"#).await;
    assert!(error.contains("it trapped"), "{error}");
    let error = acquire(r#"{"access_token":{"x":null}}"#).await;
    assert!(error.contains("found another credential in the place of this one"), "{error}");
    let error = acquire(r#"{"access_token":{"x":null}}"#).await;
    assert!(!error.contains("found another credential"), "{error}");
    assert!(error.contains("found an unbound assertion of a credential with a certificate"), "{error}");
}

#[tokio::test]
async fn an_assertion_is_bound_as_its_description_says() {
    let symbolon = engine();
    let (world, application) = hostile("federated", &symbolon, json!({ "Order": "bound" })).await;
    let error = application.acquire_token_for_client([GRAPH]).await.expect_err("bound to nothing");
    assert!(reason(error).contains("found a bound assertion of a credential that has no certificate"));
    let component = world.path("hostile-provider.wasm");
    let unbound = world.application_with(&symbolon, "federated", |settings| {
        settings["AzureAd"]["ClientCredentials"] = json!([{
            "SourceType": "CustomSignedAssertion", "CustomSignedAssertionProviderName": "keys-0",
            "UseBoundCredential": true,
        }]);
        *provider(settings) = json!({ "Component": component, "Settings": { "Order": "assertion" } });
    });
    let error = unbound.acquire_token_for_client([GRAPH]).await.expect_err("not bound");
    assert!(reason(error).contains("unbindable-credential"));
}

/// The protocol guest gets from a component what it gets from the host's own keys: signatures of client assertions. The
/// host judges first; what it lets through the component judges again.
#[tokio::test]
async fn the_key_is_no_oracle() {
    let world = world().await;
    let hostile = hostile_engine(|builder| builder);
    let application = world.application(&hostile, "certificate");
    let now = world.authority.clock().now_unix();
    let sign = async |payload: Value| {
        let header = json!({ "alg": "PS256", "typ": "JWT" });
        let encoded = [header, payload].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
        order(&application, format!("sign {}", encoded.join("."))).await.expect("an answer")
    };
    let audience = "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token";
    let good = json!({ "aud": audience, "nbf": now, "exp": now + 600 });
    assert_eq!(sign(good.clone()).await, "signed", "the positive control");
    let with = |member: &str, value: Value| {
        let mut payload = good.clone();
        payload[member] = value;
        payload
    };
    let host = "refused to sign: aud isn't";
    assert!(sign(with("aud", "https://evil.example/".into())).await.starts_with(host));
    assert!(sign(with("exp", (now + 700).into())).await.starts_with("refused to sign: exp isn't"));
    let component = "refused to sign: the component that has the key refused";
    assert_eq!(sign(with("nbf", Value::Null)).await, component);
    assert_eq!(sign(with("nbf", (now - 300).into())).await, component);
}

/// What each of the component's rules came to.
async fn examined(application: &Application) -> Vec<(String, Option<String>)> {
    let [report] = application.check_credentials().await.try_into().expect("one credential");
    report.component.into_iter().map(|finding| (finding.rule, finding.broken)).collect()
}

#[tokio::test]
async fn a_check_tries_the_component_out() {
    let world = world().await;
    let kept = examined(&world.application(&engine(), "certificate")).await;
    let rules: Vec<_> = kept.iter().map(|(rule, _)| rule.as_str()).collect();
    assert_eq!(
        rules,
        [
            "gives no secret where it has none",
            "signs handshakes with rsa-pss-sha256",
            "signs handshakes with rsa-pss-sha384",
            "signs handshakes with rsa-pss-sha512",
            "signs handshakes with rsa-pkcs1-sha256",
            "signs handshakes with rsa-pkcs1-sha384",
            "signs handshakes with rsa-pkcs1-sha512",
            "signs assertions with PS256",
            "signs assertions with RS256",
            "refuses an assertion in the place of a handshake",
            "refuses a handshake in the place of an assertion",
            "refuses an assertion of more than ten minutes",
        ]
    );
    assert!(kept.iter().all(|(_, broken)| broken.is_none()), "{kept:?}");

    write_certificate(&world);
    let given = json!({ "Order": "certificate", "Schemes": "none" });
    let broken = examined(&hostile_in(&world, "certificate", &engine(), given)).await;
    assert_eq!(broken.len(), 4);
    assert!(broken.iter().all(|(_, broken)| broken.is_some()), "{broken:?}");
}

/// What became of certificates.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<(CertificateAction, String)>>>);

impl Seen {
    fn events(&self) -> Vec<(CertificateAction, String)> {
        self.0.lock().expect("no panic").clone()
    }
}

fn presented(request: &LogEntry) -> &str {
    request.client_certificate.as_deref().expect("a certificate")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_file_of_keys_rotates_the_certificate() {
    let (world, seen) = (world().await, Seen::default());
    let observer = {
        let seen = seen.clone();
        move |event: &CertificateEvent<'_>| {
            let thumbprint = event.certificate.thumbprint_sha256().to_owned();
            seen.0.lock().expect("no panic").push((event.action, thumbprint));
        }
    };
    let symbolon = engine_with(|builder| builder.certificate_observer(Arc::new(observer)));
    let application = world.application(&symbolon, "bound");
    let acquire = async || {
        let request = application.acquire_token_for_client([GRAPH]).with_force_refresh(true);
        let (token, requests) = world.seen(request).await;
        token.expect("a token");
        presented(&requests[0]).to_owned()
    };
    let old = acquire().await;

    let made = CertificateRequest::new("renewed.contoso.test", world.authority.clock().now_unix());
    let made = made.self_signed().expect("a certificate");
    let own = std::fs::read_to_string(world.path("client.crt")).expect("the sample's certificate");
    let registration = Registration::new(sample::BOUND).mtls(true).pop(true);
    let registration = registration.certificate_pem(&own).expect("a certificate");
    world.authority.register(registration.certificate_pem(&made.certificate_pem()).expect("a certificate"));
    // A certificate whose key isn't there yet is not taken.
    std::fs::write(world.path("keys-0.pem"), made.certificate_pem()).expect("half of the new file");
    assert_eq!(acquire().await, old);
    std::fs::write(world.path("keys-0.pem"), encrypted(&made.pem())).expect("the new file");
    let begun = tokio::time::Instant::now();
    while acquire().await == old {
        assert!(begun.elapsed() < Duration::from_secs(40), "the new certificate isn't used");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let new = acquire().await;
    let events = seen.events();
    let expected = [
        (CertificateAction::Selected, &old),
        (CertificateAction::Deselected(DeselectionReason::Rotated), &old),
        (CertificateAction::Selected, &new),
    ];
    let selections: Vec<_> =
        events.iter().filter(|(action, _)| *action != CertificateAction::SuccessfullyUsed).collect();
    assert_eq!(
        selections.iter().map(|(action, thumbprint)| (*action, thumbprint)).collect::<Vec<_>>(),
        expected
    );
}
