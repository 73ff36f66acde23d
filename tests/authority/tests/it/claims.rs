//! The parameter `claims`: capabilities, challenges, and signed-request tokens.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;
use symbolon_authority::{Authority, ConditionalAccess, Registration, Resource, UserToken, sample};

use crate::support::*;

const ORDERS: &str = "api://orders/.default openid offline_access";

fn app() -> Registration {
    Registration::new(CLIENT).secret(SECRET)
}

async fn send(authority: &Authority, scope: &str, claims: &str) -> Reply {
    let assertion = authority.user_token(&UserToken::new(sample::ALICE, CLIENT)).unwrap();
    let mut form = on_behalf_of(&assertion);
    form.retain(|(name, _)| *name != "scope");
    form.extend([("scope", scope), ("claims", claims)]);
    Client::new(authority).token(LOGIN, &form).await
}

#[tokio::test]
async fn capabilities_are_in_the_token() {
    let authority = authority().application(app()).start().await.unwrap();
    let claims = json!({ "access_token": { "xms_cc": { "values": ["cp1", "cp2"] } } }).to_string();
    assert_eq!(send(&authority, GRAPH, &claims).await.claims()["xms_cc"], json!(["cp1", "cp2"]));
    let mut form = secret_form(CLIENT, SECRET);
    form.push(("claims", &claims));
    let client = Client::new(&authority);
    assert_eq!(client.token(LOGIN, &form).await.claims()["xms_cc"], json!(["cp1", "cp2"]));
    assert_eq!(send(&authority, GRAPH, "{}").await.claims().get("xms_cc"), None);
    for wrong in ["{", "[]", r#"{"access_token":1}"#] {
        assert_refused(&send(&authority, GRAPH, wrong).await, 400, "invalid_request", 90023);
    }
}

#[tokio::test]
async fn a_resource_demands_claims() {
    let demanded = json!({ "access_token": { "acrs": { "essential": true, "value": "c1" } } });
    let resource = Resource::new("api://orders", "22222222-0000-4000-8000-000000000001")
        .requires_claims(demanded.clone());
    let authority = authority().application(app()).resource(resource).start().await.unwrap();
    let reply = send(&authority, ORDERS, "").await;
    assert_refused(&reply, 400, "interaction_required", 50076);
    assert_eq!(
        (member(&reply, "claims"), member(&reply, "suberror")),
        (demanded.to_string(), "basic_action".into())
    );
    let reply = send(&authority, ORDERS, &member(&reply, "claims")).await;
    assert_eq!(reply.claims()["acrs"], json!(["c1"]));
    assert_eq!(send(&authority, GRAPH, "").await.status, 200, "other resources demand nothing");
    let mut form = secret_form(CLIENT, SECRET);
    form[2].1 = "api://orders/.default";
    let reply = Client::new(&authority).token(LOGIN, &form).await;
    assert_eq!(reply.status, 200, "nothing is demanded of applications");
}

#[tokio::test]
async fn each_policy_of_an_application() {
    let authority = authority().start().await.unwrap();
    for (policy, code, suberror, ends) in [
        (ConditionalAccess::multi_factor(), 50076, "basic_action", true),
        (ConditionalAccess::compliant_device(), 53000, "additional_action", true),
        (ConditionalAccess::blocked(), 53003, "message_only", false),
    ] {
        authority.register(app().conditional_access(policy));
        let reply = send(&authority, GRAPH, "").await;
        assert_refused(&reply, 400, "interaction_required", code);
        assert_eq!(member(&reply, "suberror"), suberror);
        let again = send(&authority, GRAPH, &member(&reply, "claims")).await;
        assert_eq!(again.status == 200, ends, "{code}");
    }
}

#[tokio::test]
async fn a_token_for_signed_requests() {
    let authority = authority().application(app()).start().await.unwrap();
    let client = Client::new(&authority);
    let req_cnf = URL_SAFE_NO_PAD.encode(json!({ "kid": "NzbLsXh8uDCcd", "xms_ksl": "sw" }).to_string());
    let form = |fields: &[(&'static str, &str)]| -> Vec<(String, String)> {
        let form = secret_form(CLIENT, SECRET);
        form.iter().chain(fields).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let send = async |fields: &[(&'static str, &str)]| {
        let form = form(fields);
        let form: Vec<_> = form.iter().map(|(name, value)| (&**name, &**value)).collect();
        client.token(LOGIN, &form).await
    };
    let reply = send(&[("token_type", "pop"), ("req_cnf", &req_cnf)]).await;
    assert_eq!(
        (&reply.json()["token_type"], &reply.claims()["cnf"]["kid"]),
        (&json!("pop"), &json!("NzbLsXh8uDCcd"))
    );
    assert_refused(&send(&[("token_type", "pop")]).await, 400, "invalid_request", 900144);
    for wrong in ["%", "e30"] {
        let reply = send(&[("token_type", "pop"), ("req_cnf", wrong)]).await;
        assert_refused(&reply, 400, "invalid_request", 90023);
    }
    assert_refused(&send(&[("token_type", "ssh-cert")]).await, 400, "invalid_request", 90023);
    let assertion = authority.user_token(&UserToken::new(sample::ALICE, CLIENT)).unwrap();
    let mut form = on_behalf_of(&assertion);
    form.extend([("token_type", "pop"), ("req_cnf", &*req_cnf)]);
    assert_eq!(client.token(LOGIN, &form).await.claims()["cnf"]["kid"], "NzbLsXh8uDCcd");
}
