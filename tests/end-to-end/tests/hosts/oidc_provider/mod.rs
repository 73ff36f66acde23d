//! A certified OpenID Connect provider that knows nothing of Entra ID: the npm package `oidc-provider`, over real TLS. It checks
//! signatures, certificates and PKCE, takes no assertion twice, and ends the session of whoever redeems a refresh token twice.

mod server;

use std::collections::HashMap;

use futures_util::future::join_all;
use serde_json::{Value, json};
use symbolon::{Application, Error, ErrorKind, Symbolon};
use symbolon_end_to_end::{claims, engine};

use self::server::{ISSUER, Provider, REDIRECT_URI};

/// With all that has a meaning of its own in a form, in base64 or in a header.
const SECRET: &str = "canary: +&=%/~ secret";

fn secret() -> Value {
    json!({ "SourceType": "ClientSecret", "ClientSecret": SECRET })
}

fn method(name: &str) -> impl FnOnce(&mut Value) {
    move |settings| settings["Symbolon"]["TokenEndpointAuthMethod"] = name.into()
}

fn code(error: &Error) -> &str {
    &error.acquisition().expect("a decision").code
}

/// A client credentials request that the provider accepts, and what it saw of it.
async fn accepted(provider: &Provider, application: &Application) -> (Value, Value) {
    let token = application.acquire_token_for_client(["read"]).await;
    let token = token.expect("a token");
    assert_eq!(token.token_type(), "Bearer");
    let seen = provider.seen(1).await.remove(0);
    assert_eq!((&seen["status"], &seen["grant"]), (&json!(200), &json!("client_credentials")), "{seen}");
    let claims = claims(token.access_token());
    assert_eq!((&claims["iss"], &claims["scope"]), (&json!(ISSUER), &json!("read")));
    application.acquire_token_for_client(["read"]).await.expect("the same token");
    provider.seen(0).await;
    (seen, claims)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_goes_where_the_client_is_registered_to_put_it() {
    let Some(provider) = Provider::start().await else { return };
    let symbolon = engine();
    let application = provider.application(&symbolon, "basic", secret(), method("client_secret_basic"));
    let (seen, _) = accepted(&provider, &application).await;
    assert_eq!((&seen["scheme"], &seen["form"]), (&json!("Basic"), &json!(["scope", "grant_type"])));

    let application = provider.application(&symbolon, "post", secret(), |_| {});
    let (seen, _) = accepted(&provider, &application).await;
    assert!(seen["scheme"].is_null());
    assert_eq!(seen["form"], json!(["client_id", "client_secret", "scope", "grant_type"]));

    let wrong = json!({ "SourceType": "ClientSecret", "ClientSecret": "canary-2" });
    for name in ["client_secret_basic", "client_secret_post"] {
        // With a cache of its own, which has no token for the right secret.
        let application = provider.application(&engine(), "basic", wrong.clone(), method(name));
        let error = application.acquire_token_for_client(["read"]).await.expect_err("another secret");
        assert_eq!(error.acquisition().expect("a decision").kind, ErrorKind::InvalidClient);
        assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn assertions_are_signed_by_rsa_and_by_p256_keys_for_the_issuer() {
    let Some(provider) = Provider::start().await else { return };
    let symbolon = engine();
    let mut p256 = provider.certificate("p256");
    p256["KeyId"] = "configured".into();
    for (client, credential, algorithm) in
        [("rsa", provider.certificate("rsa"), "PS256"), ("p256", p256, "ES256")]
    {
        let application = provider.application(&symbolon, client, credential, |_| {});
        let (seen, _) = accepted(&provider, &application).await;
        let (header, claims) = (&seen["header"], &seen["claims"]);
        assert_eq!((&header["alg"], &header["typ"]), (&json!(algorithm), &json!("JWT")));
        let is_configured = header["kid"] == "configured";
        assert_eq!(is_configured, client == "p256", "else it is the key's thumbprint");
        assert_eq!(header.as_object().map(serde_json::Map::len), Some(3), "no certificate: {header}");
        assert_eq!((&claims["aud"], &claims["sub"]), (&json!(ISSUER), &json!(client)));
        assert!(seen["certificate"].is_null());
    }
    let application = provider.application(&symbolon, "rsa", provider.certificate("rsa"), |settings| {
        settings["Symbolon"]["ClientAssertionAudience"] = "tokenendpoint".into();
        settings["AzureAd"]["SendX5C"] = true.into();
    });
    let (seen, _) = accepted(&provider, &application).await;
    assert_eq!(seen["claims"]["aud"], format!("{ISSUER}/token"));
    assert!(seen["header"]["x5c"].is_array() && seen["header"]["x5t#S256"].is_string());

    let stranger = provider.application(&symbolon, "p256", provider.certificate("stranger"), |_| {});
    let error = stranger.acquire_token_for_client(["read"]).await.expect_err("another key");
    assert_eq!(code(&error), "invalid_client");
}

/// The provider has done its part when its front fails, so it knows the first assertion.
#[tokio::test(flavor = "multi_thread")]
async fn no_assertion_is_sent_twice() {
    let Some(mut provider) = Provider::start().await else { return };
    let symbolon = engine();
    let application = provider.application(&symbolon, "rsa", provider.certificate("rsa"), |_| {});
    provider.order("502").await;
    application.acquire_token_for_client(["read"]).await.expect("a token");
    let seen = provider.seen(2).await;
    assert!(seen.iter().all(|seen| seen["status"] == 200), "{seen:#?}");
    assert_ne!(seen[0]["claims"]["jti"], seen[1]["claims"]["jti"]);

    for _ in 0..5 {
        let forced = application.acquire_token_for_client(["write"]).with_force_refresh(true);
        forced.await.expect("a token");
    }
    assert!(provider.seen(5).await.iter().all(|seen| seen["status"] == 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_in_the_handshake_proves_the_client() {
    let Some(provider) = Provider::start().await else { return };
    let symbolon = engine();
    for (client, certificate, name) in [
        ("presents", "rsa", "tls_client_auth"),
        ("presents", "p256", "tls_client_auth"),
        ("self-signed", "self-signed", "self_signed_tls_client_auth"),
    ] {
        let application =
            provider.application(&symbolon, client, provider.certificate(certificate), method(name));
        let (seen, _) = accepted(&provider, &application).await;
        assert_eq!(seen["host"], "mtls.idp.contoso.test");
        assert_eq!(seen["certificate"], provider.fingerprint(certificate));
        assert_eq!(seen["form"], json!(["client_id", "scope", "grant_type"]));
    }
    for (client, name) in [("presents", "tls_client_auth"), ("self-signed", "self_signed_tls_client_auth")] {
        let stranger = provider.certificate("stranger");
        let application = provider.application(&symbolon, client, stranger, method(name));
        let error = application.acquire_token_for_client(["read"]).await.expect_err("another certificate");
        assert_eq!(code(&error), "invalid_client");
    }
    let unknown = provider.application(&symbolon, "presents", provider.certificate("rsa"), |settings| {
        settings["Symbolon"]["AllowedAuthorities"] = json!([]);
        settings["Symbolon"]["TokenEndpointAuthMethod"] = "tls_client_auth".into();
    });
    let error =
        unknown.acquire_token_for_client(["read"]).await.expect_err("a host of the provider's choice");
    assert_eq!(code(&error), "request_denied");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_bound_to_the_certificate_that_was_presented() {
    let Some(provider) = Provider::start().await else { return };
    let symbolon = engine();
    for (client, name, is_signed) in
        [("presents", "tls_client_auth", false), ("bound", "private_key_jwt", true)]
    {
        let application = provider.application(&symbolon, client, provider.certificate("rsa"), method(name));
        let token = application
            .acquire_token_for_client(["read"])
            .with_mtls_proof_of_possession()
            .await
            .expect("a token");
        let binding = token.binding_certificate().expect("a certificate");
        let bound_to = &claims(token.access_token())["cnf"]["x5t#S256"];
        assert_eq!((token.token_type(), bound_to), ("Bearer", &json!(binding.thumbprint_sha256())));
        let seen = provider.seen(1).await.remove(0);
        assert_eq!(seen["certificate"], provider.fingerprint("rsa"));
        assert_eq!(seen["claims"].is_object(), is_signed);
    }
    // A client whose tokens the provider binds to nothing isn't told that they are bound.
    let application =
        provider.application(&symbolon, "rsa", provider.certificate("rsa"), method("private_key_jwt"));
    let error = application
        .acquire_token_for_client(["read"])
        .with_mtls_proof_of_possession()
        .await
        .expect_err("unbound");
    assert_eq!(code(&error), "token_binding_mismatch");
}

fn web_app(provider: &Provider, symbolon: &Symbolon) -> Application {
    provider.application(symbolon, "web-app", provider.certificate("rsa"), |_| {})
}

/// Signs Alice in. The parameters that came back, and the verifier.
async fn sign_in(
    provider: &Provider,
    application: &Application,
) -> (HashMap<String, String>, String, String) {
    let begun = application
        .authorization_request(["read", "write"], REDIRECT_URI)
        // The provider gives no refresh token without.
        .with_prompt("consent")
        .await
        .expect("a sign-in");
    assert!(begun.url.starts_with(&format!("{ISSUER}/auth?scope=")), "{}", begun.url);
    let target = provider.visit(&begun.url, "alice");
    assert!(target.as_str().starts_with(REDIRECT_URI), "{target}");
    let back: HashMap<String, String> = target.query_pairs().into_owned().collect();
    assert_eq!(back.get("state"), Some(&begun.state), "{target}");
    (back, begun.code_verifier, begun.nonce)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_signs_in_and_stays_signed_in() {
    let Some(provider) = Provider::start().await else { return };
    let symbolon = engine();
    let application = web_app(&provider, &symbolon);
    let (back, verifier, nonce) = sign_in(&provider, &application).await;
    let redeem = || {
        let code = back["code"].clone();
        application
            .acquire_token_by_authorization_code(["read"], code, REDIRECT_URI)
            .with_code_verifier(&verifier)
    };
    let error = redeem().await.expect_err("the provider names itself");
    assert_eq!(code(&error), "issuer_missing");
    let error = redeem().with_issuer("https://evil.test").await.expect_err("another's code");
    assert_eq!(code(&error), "issuer_mismatch");
    provider.seen(0).await;

    let token = redeem().with_issuer(&back["iss"]).await.expect("a token");
    let id_token = claims(token.id_token().expect("an id token"));
    assert_eq!((&id_token["sub"], &id_token["nonce"]), (&json!("alice"), &json!(nonce)));
    let account = token.account().expect("an account");
    assert_eq!(account.username, "alice@contoso.test");
    provider.seen(1).await;

    // Each redemption gives another refresh token, and the provider ends the session at the second use of one.
    let mut refreshed = Vec::new();
    for _ in 0..3 {
        let token = application.acquire_token_silent(["read"], &account).with_force_refresh(true).await;
        refreshed.push(token.expect("a token").access_token().to_owned());
    }
    refreshed.dedup();
    assert_eq!(refreshed.len(), 3);
    // So do those who come together for different things.
    let together = [["read"], ["write"]].map(|scopes| {
        application.acquire_token_silent(scopes, &account).with_force_refresh(true).into_future()
    });
    for token in join_all(together).await {
        token.expect("a token");
    }
    let seen = provider.seen(5).await;
    assert!(seen.iter().all(|seen| seen["status"] == 200 && seen["grant"] == "refresh_token"), "{seen:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_is_not_sent_again_after_a_connection_broke() {
    let Some(mut provider) = Provider::start().await else { return };
    let symbolon = engine();
    let application = web_app(&provider, &symbolon);
    let (back, verifier, _) = sign_in(&provider, &application).await;
    let token = application
        .acquire_token_by_authorization_code(["read"], &back["code"], REDIRECT_URI)
        .with_code_verifier(verifier)
        .with_issuer(&back["iss"])
        .await
        .expect("a token");
    let account = token.account().expect("an account");
    provider.seen(1).await;
    provider.order("drop").await;
    let silent = || application.acquire_token_silent(["read"], &account).with_force_refresh(true);
    let error = silent().await.expect_err("no answer");
    assert_eq!(error.acquisition().expect("a decision").kind, ErrorKind::OutcomeUnknown);
    let error = silent().await.expect_err("the user must sign in");
    assert_eq!(error.acquisition().expect("a decision").kind, ErrorKind::InteractionRequired);
    provider.seen(1).await;
    application.acquire_token_silent(["read"], &account).await.expect("the token that is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_worth_nothing_without_its_verifier() {
    let Some(provider) = Provider::start().await else { return };
    let symbolon = engine();
    let application = web_app(&provider, &symbolon);
    let (back, ..) = sign_in(&provider, &application).await;
    let redeem = application
        .acquire_token_by_authorization_code(["read"], &back["code"], REDIRECT_URI)
        .with_code_verifier("another-verifier-of-the-length-that-verifiers-have-at-least")
        .without_issuer_check();
    let error = redeem.await.expect_err("another verifier");
    assert_eq!(error.acquisition().expect("a decision").kind, ErrorKind::InteractionRequired);
}
