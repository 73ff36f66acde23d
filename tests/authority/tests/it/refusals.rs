//! Refusals: each with Entra ID's status, `error` and code.

use symbolon_authority::{FABRIKAM, Registration};

use crate::support::*;

async fn refused(app: Registration, form: &[(&str, &str)], expected: (u16, &str, u64)) {
    let authority = authority().application(app).start().await.unwrap();
    let reply = Client::new(&authority).token(LOGIN, form).await;
    assert_refused(&reply, expected.0, expected.1, expected.2);
    let entry = authority.log().pop().unwrap();
    assert_eq!((entry.status, entry.aadsts), (Some(expected.0), u32::try_from(expected.2).ok()));
    assert_eq!(entry.error.as_deref(), Some(expected.1));
}

fn app() -> Registration {
    Registration::new(CLIENT).secret(SECRET)
}

fn with<'a>(field: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut form = secret_form(CLIENT, SECRET);
    form.retain(|(name, _)| *name != field);
    if !value.is_empty() {
        form.push((field, value));
    }
    form
}

#[tokio::test]
async fn an_unknown_application() {
    let form = with("client_id", "99999999-0000-4000-8000-00000000ffff");
    refused(app(), &form, (400, "unauthorized_client", 700016)).await;
}

#[tokio::test]
async fn an_application_of_another_tenant() {
    refused(app().tenant(FABRIKAM), &with("", ""), (400, "unauthorized_client", 700016)).await;
}

#[tokio::test]
async fn a_wrong_secret() {
    refused(app(), &with("client_secret", "wrong"), (401, "invalid_client", 7000215)).await;
    refused(Registration::new(CLIENT), &with("", ""), (401, "invalid_client", 7000215)).await;
}

#[tokio::test]
async fn an_expired_secret() {
    let expired = Registration::new(CLIENT).secret_until(SECRET, NOW);
    refused(expired.clone(), &with("", ""), (401, "invalid_client", 7000222)).await;
    refused(expired, &with("client_secret", "wrong"), (401, "invalid_client", 7000215)).await;
}

#[tokio::test]
async fn one_of_several_secrets_is_enough() {
    let app = Registration::new(CLIENT).secret("other").secret_until(SECRET, NOW).secret(SECRET);
    let authority = authority().application(app).start().await.unwrap();
    assert_eq!(Client::new(&authority).token(LOGIN, &with("", "")).await.status, 200);
}

#[tokio::test]
async fn no_credential() {
    refused(app(), &with("client_secret", ""), (401, "invalid_client", 7000218)).await;
}

#[tokio::test]
async fn missing_parameters() {
    for field in ["client_id", "scope", "grant_type"] {
        refused(app(), &with(field, ""), (400, "invalid_request", 900144)).await;
    }
    let mut form = with("client_secret", "");
    form.push(("client_assertion", "e30.e30.AA"));
    refused(app(), &form, (400, "invalid_request", 900144)).await;
}

#[tokio::test]
async fn unknown_values() {
    refused(app(), &with("grant_type", "magic"), (400, "unsupported_grant_type", 70003)).await;
    let form = with("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer");
    refused(app(), &form, (400, "invalid_request", 90023)).await;
}

#[tokio::test]
async fn a_repeated_parameter() {
    let mut form = with("", "");
    form.push(("scope", GRAPH));
    refused(app(), &form, (400, "invalid_request", 9002313)).await;
}

#[tokio::test]
async fn scopes() {
    let invalid_scope = |code| (400, "invalid_scope", code);
    refused(app(), &with("scope", "https://graph.microsoft.com/User.Read"), invalid_scope(1002012)).await;
    refused(app(), &with("scope", "/.default"), invalid_scope(1002012)).await;
    refused(app(), &with("scope", "openid profile"), invalid_scope(70011)).await;
    let two = "https://graph.microsoft.com/.default https://vault.azure.net/.default";
    refused(app(), &with("scope", two), invalid_scope(70011)).await;
    refused(app(), &with("scope", "api://nobody/.default"), (400, "invalid_resource", 500011)).await;
}

#[tokio::test]
async fn a_resource_that_is_not_assigned() {
    let app = app().resource("https://vault.azure.net", []);
    refused(app, &with("", ""), (400, "invalid_grant", 501051)).await;
}

#[tokio::test]
async fn fmi_paths_and_attributes_that_are_not_allowed() {
    let invalid = (400, "invalid_request", 90023);
    refused(app().fmi_path("a/b"), &with("fmi_path", "a/c"), invalid).await;
    refused(app().attributes(false), &with("attributes", "{}"), invalid).await;
}

#[tokio::test]
async fn tenants() {
    let authority = authority().application(app()).start().await.unwrap();
    let client = Client::new(&authority);
    for (tenant, code) in [
        ("cccccccc-0000-4000-8000-000000000000", 90002),
        ("nobody.onmicrosoft.com", 90002),
        ("not%20a%20tenant", 900023),
        ("contoso", 900023),
        ("common", 50059),
        ("organizations", 50059),
    ] {
        let reply = client.post(LOGIN, &format!("/{tenant}/oauth2/v2.0/token"), &with("", "")).await.unwrap();
        assert_refused(&reply, 400, "invalid_request", code);
    }
}

#[tokio::test]
async fn what_is_no_token_request() {
    let authority = authority().application(app()).start().await.unwrap();
    let client = Client::new(&authority);
    assert_refused(&client.get(LOGIN, &token_path()).await, 400, "invalid_request", 900561);
    let mut json = request("POST", LOGIN, &token_path(), &[], "{}".to_owned());
    json.headers_mut().insert("content-type", "application/json".parse().unwrap());
    assert_refused(&client.send(LOGIN, json).await.unwrap(), 400, "invalid_request", 9002313);
    assert_eq!(client.get(LOGIN, "/nowhere").await.status, 404);
    let elsewhere = request("GET", "login.windows.net", "/common/discovery/instance", &[], String::new());
    assert_eq!(client.send(LOGIN, elsewhere).await.unwrap().status, 421);
}

#[tokio::test]
async fn a_body_that_is_too_long() {
    let authority = authority().application(app()).start().await.unwrap();
    let long = "a".repeat(2 * 1024 * 1024);
    let reply = Client::new(&authority).token(LOGIN, &with("client_secret", &long)).await;
    assert_refused(&reply, 400, "invalid_request", 9002313);
}
