//! The signing key is no oracle: one test per rule, each with an input that breaks that rule and no other.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod certificates;

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use certificates::Identity;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::json;
use symbolon_resources::clock::{Clock, ManualClock};
use symbolon_resources::configuration::ApplicationOptions;
use symbolon_resources::credentials::{
    Binding, ClientSecret, CredentialDescription, CredentialError, CredentialProvider, Refusal,
    SelectedCredential, SignatureAlgorithm, SigningBudget,
};

use SignatureAlgorithm::{Es256, Ps256, Rs256};

const NOW: u64 = 1_700_000_000;
const HEADER: &str =
    r#"{"alg":"PS256","typ":"JWT","x5t#S256":"bmQeK7jALQuzsm3zZhXskUB41iAU0lyzzX2AKJAtiZ8"}"#;
const TOKEN_ENDPOINT: &str = "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token";

fn provider(description: CredentialDescription) -> CredentialProvider {
    let options = ApplicationOptions::builder("11111111-1111-1111-1111-111111111111")
        .tenant_id("contoso.com")
        .azure_region("westeurope")
        .allowed_authority("https://login.contoso.test:8443")
        .credential(description)
        .build()
        .unwrap();
    CredentialProvider::new(&options, Arc::new(ManualClock::new(NOW * 1000)) as Arc<dyn Clock>)
}

fn certificate() -> CredentialDescription {
    let pem = Identity::rsa("daemon").pem();
    CredentialDescription::from_certificate(Binding::from_bytes(pem.as_bytes(), None).unwrap())
}

async fn selected() -> SelectedCredential {
    provider(certificate()).select(&SigningBudget::new()).await.unwrap()
}

fn encode(json: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(json)
}

fn input(header: impl ToString, payload: impl ToString) -> String {
    format!("{}.{}", encode(header.to_string()), encode(payload.to_string()))
}

fn payload() -> serde_json::Value {
    json!({ "aud": TOKEN_ENDPOINT, "iss": "app", "sub": "app", "nbf": NOW, "exp": NOW + 600, "jti": "1" })
}

fn with(name: &str, value: serde_json::Value) -> serde_json::Value {
    let mut payload = payload();
    payload[name] = value;
    payload
}

async fn refusal(input: impl AsRef<[u8]>) -> Option<Refusal> {
    refusal_with(Ps256, input).await
}

async fn refusal_with(algorithm: SignatureAlgorithm, input: impl AsRef<[u8]>) -> Option<Refusal> {
    match selected().await.sign_assertion(algorithm, input.as_ref()) {
        Ok(signature) => {
            assert_eq!(signature.len(), 256);
            None
        }
        Err(CredentialError::Refused(refusal)) => Some(refusal),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_client_assertion_is_signed() {
    assert_eq!(refusal(input(HEADER, payload())).await, None);
    assert_eq!(refusal_with(Rs256, input(r#"{"alg":"RS256","typ":"jwt"}"#, payload())).await, None);
}

#[tokio::test]
async fn only_two_segments_of_canonical_base64url_are_signed() {
    let good = input(HEADER, payload());
    let (header, body) = good.split_once('.').unwrap();
    // One of the last character's unused bits is set: the same bytes to a lenient reader.
    let strict = encode(r#"{"alg":"PS256","typ":"JWT" }"#);
    assert_eq!(refusal(format!("{strict}.{body}")).await, None);
    let loose = format!("{}R", strict.strip_suffix('Q').unwrap());
    for bad in [
        String::new(),
        header.to_owned(),
        format!("{good}.{body}"),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}\n"),
        format!("{good}="),
        good.replacen('.', " . ", 1),
        format!("{header}.{}", serde_json::to_string(&payload()).unwrap()),
        format!("{loose}.{body}"),
    ] {
        assert_eq!(refusal(&bad).await, Some(Refusal::NotCompact), "{bad}");
    }
    assert_eq!(refusal(b"\xff.\xff").await, Some(Refusal::NotCompact));
    assert_eq!(refusal(".").await, Some(Refusal::Header));
}

#[tokio::test]
async fn nothing_longer_than_a_client_assertion_is_signed() {
    let jti = "x".repeat(49_000);
    assert_eq!(refusal(input(HEADER, with("jti", json!(jti)))).await, Some(Refusal::TooLong));
    assert_eq!(refusal(input(HEADER, with("jti", json!(jti[..45_000])))).await, None);
}

#[tokio::test]
async fn the_header_is_an_object_with_unique_members() {
    for header in ["", "[]", "\"JWT\"", "{", r#"{"alg":"PS256","typ":"JWT"} x"#] {
        assert_eq!(refusal(input(header, payload())).await, Some(Refusal::Header), "{header}");
    }
    for twice in [
        r#"{"alg":"none","alg":"PS256","typ":"JWT"}"#,
        r#"{"alg":"PS256","\u0061lg":"none","typ":"JWT"}"#,
        r#"{"alg":"PS256","typ":"JWT","kid":"1","kid":"2"}"#,
    ] {
        assert_eq!(refusal(input(twice, payload())).await, Some(Refusal::Header), "{twice}");
    }
}

#[tokio::test]
async fn the_type_is_jwt() {
    for header in [r#"{"alg":"PS256"}"#, r#"{"alg":"PS256","typ":"at+jwt"}"#, r#"{"alg":"PS256","typ":1}"#] {
        assert_eq!(refusal(input(header, payload())).await, Some(Refusal::Type), "{header}");
    }
}

#[tokio::test]
async fn the_header_names_the_algorithm_asked_for() {
    for header in [r#"{"typ":"JWT"}"#, r#"{"alg":"none","typ":"JWT"}"#, r#"{"alg":"ps256","typ":"JWT"}"#] {
        assert_eq!(refusal(input(header, payload())).await, Some(Refusal::Algorithm), "{header}");
    }
    assert_eq!(refusal_with(Rs256, input(HEADER, payload())).await, Some(Refusal::Algorithm));
}

#[tokio::test]
async fn nothing_critical_changes_what_the_signature_means() {
    for header in [
        r#"{"alg":"PS256","typ":"JWT","crit":["b64"],"b64":false}"#,
        r#"{"alg":"PS256","typ":"JWT","crit":["exp"]}"#,
        r#"{"alg":"PS256","typ":"JWT","b64":true}"#,
    ] {
        assert_eq!(refusal(input(header, payload())).await, Some(Refusal::Critical), "{header}");
    }
}

#[tokio::test]
async fn the_payload_is_an_object_with_unique_members() {
    let twice = format!(r#"{{"aud":"https://evil.test","aud":"{TOKEN_ENDPOINT}","exp":{}}}"#, NOW + 60);
    for payload in ["", "[1]", "42", &twice] {
        assert_eq!(refusal(input(HEADER, payload)).await, Some(Refusal::Payload), "{payload}");
    }
}

#[tokio::test]
async fn it_expires_within_ten_minutes() {
    let mut without = payload();
    without.as_object_mut().unwrap().remove("exp");
    assert_eq!(refusal(input(HEADER, without)).await, Some(Refusal::Expiry));
    let bad = [
        json!(NOW + 601),
        json!(NOW),
        json!(NOW - 1),
        json!(-1),
        json!(0),
        json!(NOW as f64 + 60.5),
        json!((NOW + 60).to_string()),
        json!([NOW + 60]),
        json!(u64::MAX),
    ];
    for exp in bad {
        assert_eq!(refusal(input(HEADER, with("exp", exp.clone()))).await, Some(Refusal::Expiry), "{exp}");
    }
    for exp in [NOW + 1, NOW + 600] {
        assert_eq!(refusal(input(HEADER, with("exp", json!(exp)))).await, None, "{exp}");
    }
}

#[tokio::test]
async fn it_is_addressed_inside_the_egress_policy() {
    let mut without = payload();
    without.as_object_mut().unwrap().remove("aud");
    assert_eq!(refusal(input(HEADER, without)).await, Some(Refusal::Audience));
    let bad = [
        json!("https://evil.test/contoso.com/oauth2/v2.0/token"),
        json!("http://login.microsoftonline.com/contoso.com/oauth2/v2.0/token"),
        json!("http://login.microsoftonline.com:443/"),
        json!("HTTPS://login.microsoftonline.com/"),
        json!("https://user@login.microsoftonline.com/"),
        json!("https://login.microsoftonline.com:8443/"),
        json!("https://login.microsoftonline.com.evil.test/"),
        json!("https://login.microsoftonline.com@evil.test/"),
        json!("https://evil.test\\@login.microsoftonline.com/"),
        json!("https:\\\\login.microsoftonline.com/"),
        json!("https://login.microsoftonline.com\t/"),
        json!(" https://login.microsoftonline.com/"),
        json!("https://login.microsoftonline.c\u{43e}m/"),
        json!("https:///login.microsoftonline.com/ "),
        json!("https://eastus.login.microsoft.com/"),
        json!("https://login.contoso.test/"),
        json!("https://login.microsoftonline.us/"),
        json!("api://AzureADTokenExchange"),
        json!("login.microsoftonline.com"),
        json!(""),
        json!([TOKEN_ENDPOINT]),
        json!(null),
    ];
    for aud in bad {
        assert_eq!(refusal(input(HEADER, with("aud", aud.clone()))).await, Some(Refusal::Audience), "{aud}");
    }
    for aud in [
        "https://login.microsoftonline.com",
        "https://login.microsoftonline.com/contoso.com/v2.0",
        "https://sts.windows.net/1/",
        "https://mtlsauth.microsoft.com/contoso.com/oauth2/v2.0/token",
        "https://westeurope.login.microsoft.com/contoso.com/oauth2/v2.0/token",
        "https://westeurope.mtlsauth.microsoft.com/contoso.com/oauth2/v2.0/token",
        "https://login.contoso.test:8443/adfs/oauth2/token",
    ] {
        assert_eq!(refusal(input(HEADER, with("aud", json!(aud)))).await, None, "{aud}");
    }
}

#[tokio::test]
async fn an_acquisition_gets_eight_signatures_however_often_it_selects() {
    let provider = provider(certificate());
    let budget = SigningBudget::new();
    let good = input(HEADER, payload());
    for left in (0..8).rev() {
        let credential = provider.select(&budget).await.unwrap();
        // What is refused for another reason costs nothing.
        assert!(credential.sign_assertion(Ps256, b"x").is_err());
        assert!(credential.clone().sign_assertion(Ps256, good.as_bytes()).is_ok());
        assert_eq!(budget.remaining(), left);
    }
    for _ in 0..2 {
        let credential = provider.select(&budget).await.unwrap();
        let error = credential.sign_assertion(Ps256, good.as_bytes()).unwrap_err();
        assert!(matches!(error, CredentialError::Refused(Refusal::Budget)));
        assert_eq!(error.to_string(), "refused to sign: more than 8 signatures in one acquisition");
    }
    let next = provider.select(&SigningBudget::new()).await.unwrap();
    assert!(next.sign_assertion(Ps256, good.as_bytes()).is_ok());
}

#[tokio::test]
async fn the_clock_is_the_hosts() {
    let clock = Arc::new(ManualClock::new(NOW * 1000));
    let options = ApplicationOptions::builder("app").tenant_id("contoso.com").credential(certificate());
    let provider = CredentialProvider::new(&options.build().unwrap(), clock.clone());
    let credential = provider.select(&SigningBudget::new()).await.unwrap();
    let good = input(HEADER, payload());
    assert!(credential.sign_assertion(Ps256, good.as_bytes()).is_ok());
    clock.advance(600_000);
    assert!(credential.sign_assertion(Ps256, good.as_bytes()).is_err());
}

#[tokio::test]
async fn a_key_signs_what_it_can_and_a_secret_nothing() {
    let identity = Identity::new("ec", KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap());
    let binding = Binding::from_bytes(identity.pem().as_bytes(), None).unwrap();
    let ec = provider(CredentialDescription::from_certificate(binding));
    let credential = ec.select(&SigningBudget::new()).await.unwrap();
    let es256 = input(r#"{"alg":"ES256","typ":"JWT"}"#, payload());
    assert_eq!(credential.sign_assertion(Es256, es256.as_bytes()).unwrap().len(), 64);
    let error = credential.sign_assertion(Ps256, input(HEADER, payload()).as_bytes()).unwrap_err();
    assert!(matches!(error, CredentialError::Unsupported(_)), "{error}");

    let secret = provider(CredentialDescription::from_client_secret(ClientSecret::new("canary")));
    let credential = secret.select(&SigningBudget::new()).await.unwrap();
    let error = credential.sign_assertion(Ps256, input(HEADER, payload()).as_bytes()).unwrap_err();
    let expected =
        "ClientCredentials[0] (ClientSecret) can't sign; accepted: a credential with a certificate";
    assert_eq!(error.to_string(), expected);
}
