//! On behalf of the user of a SAML assertion, in the authority's test profile.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use symbolon_authority::{Authority, Registration, SamlAssertion, User, sample};

use crate::support::*;

const SAML_1_1: &str = "urn:ietf:params:oauth:grant-type:saml1_1-bearer";
const SAML_2: &str = "urn:ietf:params:oauth:grant-type:saml2-bearer";

async fn start() -> Authority {
    authority().application(Registration::new(CLIENT).secret(SECRET)).start().await.unwrap()
}

async fn send(authority: &Authority, grant: &str, assertion: &str) -> Reply {
    let mut form = on_behalf_of(assertion);
    form.retain(|(name, _)| *name != "grant_type");
    form.push(("grant_type", grant));
    Client::new(authority).token(LOGIN, &form).await
}

#[tokio::test]
async fn both_versions() {
    let authority = start().await;
    authority.register_user(User::new("dddddddd-0000-4000-8000-000000000001", "c&<>\"@contoso.com"));
    for user in [sample::ALICE, "c&<>\"@contoso.com"] {
        let new = SamlAssertion::new(user, CLIENT);
        for (grant, assertion) in [(SAML_2, new.clone()), (SAML_1_1, new.version_1_1())] {
            let assertion = authority.saml_assertion(&assertion).unwrap();
            assert_eq!(send(&authority, grant, &assertion).await.claims()["upn"], user);
            let other = if grant == SAML_2 { SAML_1_1 } else { SAML_2 };
            assert_refused(&send(&authority, other, &assertion).await, 400, "invalid_grant", 50013);
            assert_refused(&send(&authority, OBO, &assertion).await, 400, "invalid_grant", 50013);
            let shown = serde_json::to_string(&authority.log()).unwrap();
            assert!(!shown.contains(&assertion[..64]), "{shown}");
        }
    }
}

#[tokio::test]
async fn what_is_refused() {
    let authority = start().await;
    let new = |audience: &str| SamlAssertion::new(sample::ALICE, audience).lifetime_seconds(60);
    let good = authority.saml_assertion(&new(CLIENT)).unwrap();
    let document = String::from_utf8(URL_SAFE_NO_PAD.decode(&good).unwrap()).unwrap();
    let forged = document.replace(sample::ALICE, sample::BOB);
    assert_ne!(forged, document);
    let (unsigned, _) = document.split_once("<!--").unwrap();
    for text in [forged.as_str(), unsigned, "garbage", &document.replace("-->", "AA-->")] {
        let reply = send(&authority, SAML_2, &URL_SAFE_NO_PAD.encode(text)).await;
        assert_refused(&reply, 400, "invalid_grant", 50013);
    }
    assert_refused(&send(&authority, SAML_2, "%%%").await, 400, "invalid_grant", 50013);
    let elsewhere = authority.saml_assertion(&new("api://others")).unwrap();
    assert_refused(&send(&authority, SAML_2, &elsewhere).await, 400, "invalid_grant", 500131);
    authority.advance(Duration::from_secs(60));
    assert_refused(&send(&authority, SAML_2, &good).await, 400, "invalid_grant", 500133);
    assert!(authority.saml_assertion(&SamlAssertion::new("nobody", CLIENT)).is_err());
}
