//! Agents: each leg with the token of the one before, and nobody else's.

use std::time::Duration;

use serde_json::{Value, json};
use symbolon_authority::{Authority, CONTOSO, Flow, Registration, UserToken, sample};

use crate::support::*;

const BLUEPRINT: &str = "99999999-0000-4000-8000-0000000000b1";
const AGENT: &str = "99999999-0000-4000-8000-0000000000a1";
const OTHER: &str = "99999999-0000-4000-8000-0000000000a2";

async fn start() -> Authority {
    authority()
        .application(Registration::new(BLUEPRINT).secret(SECRET))
        .application(Registration::new(AGENT).agent_of(BLUEPRINT))
        .application(Registration::new(OTHER).agent_of(BLUEPRINT))
        .start()
        .await
        .unwrap()
}

async fn t1(client: &Client, agent: &str) -> String {
    let mut form = secret_form(BLUEPRINT, SECRET);
    form[2].1 = EXCHANGE;
    form.push(("fmi_path", agent));
    member(&client.token(LOGIN, &form).await, "access_token")
}

fn agent_form<'a>(agent: &'a str, t1: &'a str, scope: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut form = assertion_form(agent, t1);
    form[3].1 = scope;
    form
}

async fn t2(client: &Client, agent: &str, t1: &str) -> String {
    member(&client.token(LOGIN, &agent_form(agent, t1, EXCHANGE)).await, "access_token")
}

fn user_fic<'a>(agent: &'a str, t1: &'a str, t2: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut form = agent_form(agent, t1, USER_SCOPES);
    form[4].1 = "user_fic";
    form.extend([("user_federated_identity_credential", t2), ("client_info", "1")]);
    form
}

#[tokio::test]
async fn an_application_token_in_two_legs() {
    let authority = start().await;
    let client = Client::new(&authority);
    let t1 = t1(&client, AGENT).await;
    let claims = client.token(LOGIN, &agent_form(AGENT, &t1, GRAPH)).await.claims();
    assert_eq!((&claims["azp"], &claims["xms_par_app_azp"]), (&json!(AGENT), &json!(BLUEPRINT)));
    assert_eq!((&claims["idtyp"], claims.get("xms_sub_fct")), (&json!("app"), None));
    let (_, shown) = authority.log()[1].client_assertion().map(|(h, p)| (h.clone(), p.clone())).unwrap();
    assert!(shown["sub"].as_str().unwrap().ends_with(AGENT));
}

#[tokio::test]
async fn a_users_token_in_three_legs_and_its_refresh() {
    let authority = start().await;
    let client = Client::new(&authority);
    let t1 = t1(&client, AGENT).await;
    let t2 = t2(&client, AGENT, &t1).await;
    for (name, value) in [("user_id", sample::ALICE_OBJECT_ID), ("username", sample::ALICE)] {
        let mut form = user_fic(AGENT, &t1, &t2);
        form.push((name, value));
        let reply = client.token(LOGIN, &form).await;
        let claims = reply.claims();
        let of_agent = |claims: &Value| {
            assert_eq!((&claims["azp"], &claims["xms_par_app_azp"]), (&json!(AGENT), &json!(BLUEPRINT)));
            assert_eq!((&claims["oid"], &claims["idtyp"]), (&json!(sample::ALICE_OBJECT_ID), &json!("user")));
            assert_eq!(claims["xms_sub_fct"], "13");
        };
        of_agent(&claims);
        assert_eq!(decoded(&member(&reply, "client_info"))["uid"], sample::ALICE_OBJECT_ID);
        assert_eq!(decoded(&member(&reply, "id_token"))["aud"], AGENT);

        let refresh_token = member(&reply, "refresh_token");
        let mut form = agent_form(AGENT, &t1, USER_SCOPES);
        form[4].1 = "refresh_token";
        form.push(("refresh_token", &refresh_token));
        of_agent(&client.token(LOGIN, &form).await.claims());
    }
}

#[tokio::test]
async fn on_behalf_of_as_the_agent() {
    let authority = start().await;
    let client = Client::new(&authority);
    let t1 = t1(&client, AGENT).await;
    for (audience, status) in
        [(BLUEPRINT.to_owned(), 200), (format!("api://{BLUEPRINT}"), 200), (OTHER.to_owned(), 400)]
    {
        let assertion = authority.user_token(&UserToken::new(sample::BOB, &audience)).unwrap();
        let mut form = agent_form(AGENT, &t1, USER_SCOPES);
        form[4].1 = OBO;
        form.extend([("assertion", &*assertion), ("requested_token_use", "on_behalf_of")]);
        let reply = client.token(LOGIN, &form).await;
        assert_eq!(reply.status, status, "{audience}");
        if status == 200 {
            let claims = reply.claims();
            assert_eq!((&claims["oid"], &claims["azp"]), (&json!(sample::BOB_OBJECT_ID), &json!(AGENT)));
            assert_eq!(claims.get("xms_sub_fct"), None, "the user is no agent's");
        } else {
            assert_refused(&reply, 400, "invalid_grant", 500131);
        }
    }
}

#[tokio::test]
async fn only_the_blueprints_token_for_this_agent() {
    let authority = start().await;
    let client = Client::new(&authority);
    let others = t1(&client, OTHER).await;
    let refused = async |text: &str, code: u64| {
        let reply = client.token(LOGIN, &agent_form(AGENT, text, GRAPH)).await;
        assert_refused(&reply, 401, "invalid_client", code);
    };
    refused(&others, 700213).await;
    // Another blueprint asks for a token with this agent's path.
    authority.register(Registration::new(CLIENT).secret(SECRET));
    let mut form = secret_form(CLIENT, SECRET);
    form[2].1 = EXCHANGE;
    form.push(("fmi_path", AGENT));
    refused(&member(&client.token(LOGIN, &form).await, "access_token"), 700213).await;
    // The blueprint's token for the exchange without path, and its token for something else.
    let mut form = secret_form(BLUEPRINT, SECRET);
    form[2].1 = EXCHANGE;
    refused(&member(&client.token(LOGIN, &form).await, "access_token"), 700213).await;
    form[2].1 = GRAPH;
    form.push(("fmi_path", AGENT));
    refused(&member(&client.token(LOGIN, &form).await, "access_token"), 700212).await;
    form[2].1 = "api://AzureFMITokenExchange/.default";
    refused(&member(&client.token(LOGIN, &form).await, "access_token"), 700212).await;
    let own = t1(&client, AGENT).await;
    let (unsigned, _) = own.rsplit_once('.').unwrap();
    refused(&format!("{unsigned}.AAAA"), 700027).await;
    refused("garbage", 50027).await;
    let path = "/fabrikam.com/oauth2/v2.0/token";
    let elsewhere = client.post(LOGIN, path, &agent_form(AGENT, &own, GRAPH)).await.unwrap();
    assert_refused(&elsewhere, 401, "invalid_client", 700211);
    authority.advance(Duration::from_secs(3599 + 301));
    refused(&own, 700024).await;
}

#[tokio::test]
async fn the_exchange_of_each_cloud() {
    let authority = start().await;
    let client = Client::new(&authority);
    for (host, suffix) in
        [(LOGIN, ""), ("login.microsoftonline.us", "USGov"), ("login.partner.microsoftonline.cn", "China")]
    {
        for asked in ["", "USGov", "China"] {
            let scope = format!("api://AzureADTokenExchange{asked}/.default");
            let mut form = secret_form(BLUEPRINT, SECRET);
            form[2].1 = &scope;
            form.push(("fmi_path", AGENT));
            let reply = client.token(host, &form).await;
            if asked == suffix {
                let t1 = member(&reply, "access_token");
                assert_eq!(client.token(host, &agent_form(AGENT, &t1, &scope)).await.status, 200, "{host}");
            } else {
                assert_refused(&reply, 400, "invalid_resource", 500011);
            }
        }
    }
}

#[tokio::test]
async fn an_agent_belongs_to_a_tenant() {
    let authority = start().await;
    let client = Client::new(&authority);
    let t1 = t1(&client, AGENT).await;
    let mut form = user_fic(AGENT, &t1, &t1);
    form.push(("username", sample::ALICE));
    let reply = client.post(LOGIN, "/organizations/oauth2/v2.0/token", &form).await.unwrap();
    assert_refused(&reply, 400, "invalid_request", 50059);
}

#[tokio::test]
async fn an_agent_has_no_other_credential() {
    let authority = start().await;
    authority.register(Registration::new(AGENT).agent_of(BLUEPRINT).secret(SECRET));
    let reply = Client::new(&authority).token(LOGIN, &secret_form(AGENT, SECRET)).await;
    assert_refused(&reply, 401, "invalid_client", 7000215);
    let own = certificate("own");
    let agent = Registration::new(AGENT).agent_of(BLUEPRINT).certificate(own.certificate().clone());
    authority.register(agent.mtls(true));
    let client = Client::with_certificate(&authority, &own);
    let form = [("client_id", AGENT), ("grant_type", "client_credentials"), ("scope", GRAPH)];
    assert_refused(&client.token(MTLS, &form).await, 401, "invalid_client", 7000218);
    let signed =
        Assertion::new(AGENT, &format!("https://{LOGIN}{}", token_path()), &own).x5c(&own).sign(&own);
    let reply = client.token(LOGIN, &agent_form(AGENT, &signed, GRAPH)).await;
    assert_refused(&reply, 401, "invalid_client", 700211);
}

#[tokio::test]
async fn only_this_agents_token_for_the_exchange() {
    let authority = start().await;
    let client = Client::new(&authority);
    let (one, other) = (t1(&client, AGENT).await, t1(&client, OTHER).await);
    let (own, others) = (t2(&client, AGENT, &one).await, t2(&client, OTHER, &other).await);
    let refused = async |credential: &str, code: u64| {
        let mut form = user_fic(AGENT, &one, credential);
        form.push(("username", sample::ALICE));
        assert_refused(&client.token(LOGIN, &form).await, 400, "invalid_grant", code);
    };
    refused(&others, 70000).await;
    refused(&one, 70000).await;
    refused("garbage", 50013).await;
    let for_graph = member(&client.token(LOGIN, &agent_form(AGENT, &one, GRAPH)).await, "access_token");
    refused(&for_graph, 500131).await;
    authority.register(Registration::new(AGENT).agent_of(BLUEPRINT).token_lifetime(Duration::from_secs(60)));
    let short = t2(&client, AGENT, &one).await;
    authority.advance(Duration::from_secs(60));
    refused(&short, 500133).await;
    let mut form = user_fic(AGENT, &one, &own);
    form.push(("username", sample::ALICE));
    assert_eq!(client.token(LOGIN, &form).await.status, 200);
}

#[tokio::test]
async fn one_user_who_exists() {
    let authority = start().await;
    let client = Client::new(&authority);
    let t1 = t1(&client, AGENT).await;
    let t2 = t2(&client, AGENT, &t1).await;
    let send = async |fields: &[(&str, &str)]| {
        let mut form = user_fic(AGENT, &t1, &t2);
        form.extend(fields);
        client.token(LOGIN, &form).await
    };
    let both = [("user_id", sample::ALICE_OBJECT_ID), ("username", sample::ALICE)];
    assert_refused(&send(&both).await, 400, "invalid_request", 90023);
    assert_refused(&send(&[]).await, 400, "invalid_request", 900144);
    assert_refused(&send(&[("user_id", sample::ALICE)]).await, 400, "invalid_request", 90023);
    let by_id = [("username", sample::ALICE_OBJECT_ID)];
    assert_refused(&send(&by_id).await, 400, "invalid_grant", 50034);
    let nobody = [("username", "nobody@contoso.com")];
    assert_refused(&send(&nobody).await, 400, "invalid_grant", 50034);
}

#[tokio::test]
async fn an_application_that_is_no_agent() {
    let authority = start().await;
    let form = user_form(&[("client_id", BLUEPRINT), ("grant_type", "user_fic")]);
    let reply = Client::new(&authority).token(LOGIN, &form).await;
    assert_refused(&reply, 400, "unsupported_grant_type", 70003);
}

#[tokio::test]
async fn a_bound_chain() {
    let (own, stranger) = (certificate("own"), certificate("stranger"));
    let blueprint = Registration::new(BLUEPRINT).certificate(own.certificate().clone());
    let blueprint = blueprint.mtls(true).pop(true).tls_client_auth(true);
    let agent = Registration::new(AGENT).agent_of(BLUEPRINT).mtls(true).pop(true).mtls_flows(Flow::ALL);
    let authority = authority().application(blueprint).application(agent.clone()).start().await.unwrap();
    let client = Client::with_certificate(&authority, &own);
    let leg_1 = [
        ("client_id", BLUEPRINT),
        ("grant_type", "client_credentials"),
        ("scope", EXCHANGE),
        ("fmi_path", AGENT),
        ("token_type", "mtls_pop"),
    ];
    let reply = client.token(MTLS, &leg_1).await;
    assert_eq!(reply.claims()["cnf"], json!({ "x5t#S256": x5t_s256(&own) }));
    let t1 = member(&reply, "access_token");

    let mut leg_2 = agent_form(AGENT, &t1, EXCHANGE);
    leg_2[1].1 = JWT_POP;
    let t2 = member(&client.token(MTLS, &leg_2).await, "access_token");
    let mut leg_3 = user_fic(AGENT, &t1, &t2);
    leg_3[1].1 = JWT_POP;
    leg_3.push(("username", sample::ALICE));
    assert_eq!(client.token(MTLS, &leg_3).await.claims()["xms_sub_fct"], "13");

    // A bound token for the exchange is worth nothing where the handshake does not show the certificate.
    let mut leg_2_bound = leg_2.clone();
    leg_2_bound.push(("token_type", "mtls_pop"));
    let bound_t2 = member(&client.token(MTLS, &leg_2_bound).await, "access_token");
    let reply = client.token(MTLS, &leg_1[..4]).await;
    let unbound_t1 = member(&reply, "access_token");
    let mut form = user_fic(AGENT, &unbound_t1, &bound_t2);
    form.push(("username", sample::ALICE));
    assert_refused(&client.token(LOGIN, &form).await, 401, "invalid_client", 500181);
    form[2].1 = &t1;
    form[1].1 = JWT_POP;
    assert_eq!(client.token(MTLS, &form).await.status, 200);

    let stranger = Client::with_certificate(&authority, &stranger);
    assert_refused(&stranger.token(MTLS, &leg_2).await, 401, "invalid_client", 500181);
    let bearer = agent_form(AGENT, &t1, EXCHANGE);
    assert_refused(&client.token(MTLS, &bearer).await, 401, "invalid_client", 500181);
    assert_refused(&client.token(LOGIN, &bearer).await, 401, "invalid_client", 500181);
    assert_refused(&Client::new(&authority).token(MTLS, &leg_2).await, 401, "invalid_client", 7000218);
    authority.register(agent.mtls_flows(Flow::OVER_MTLS));
    assert_refused(&client.token(MTLS, &leg_3).await, 400, "invalid_request", 392189);
}

#[tokio::test]
async fn an_application_that_may_name_users_does_it_as_an_agent() {
    let app = Registration::new(CLIENT).secret(SECRET);
    let authority = authority().application(app.clone().names_users(true)).start().await.unwrap();
    let client = Client::new(&authority);
    let mut exchange = secret_form(CLIENT, SECRET);
    exchange[2].1 = EXCHANGE;
    let own = member(&client.token(LOGIN, &exchange).await, "access_token");
    let form = user_form(&[
        ("grant_type", "user_fic"),
        ("user_federated_identity_credential", &own),
        ("username", sample::ALICE),
    ]);
    let claims = client.token(LOGIN, &form).await.claims();
    assert_eq!((&claims["oid"], claims.get("xms_sub_fct")), (&json!(sample::ALICE_OBJECT_ID), None));
    authority.register(app);
    assert_refused(&client.token(LOGIN, &form).await, 400, "unsupported_grant_type", 70003);
}

#[tokio::test]
async fn the_samples() {
    let directory = tempfile::tempdir().unwrap();
    let authority = authority().data_dir(directory.path()).start().await.unwrap();
    let settings = std::fs::read(directory.path().join("appsettings-blueprint.json")).unwrap();
    let settings: Value = serde_json::from_slice(&settings).unwrap();
    let secret = settings["AzureAd"]["ClientCredentials"][0]["ClientSecret"].as_str().unwrap();
    let client = Client::new(&authority);
    for agent in [sample::AGENT_ONE, sample::AGENT_TWO] {
        let mut form = secret_form(sample::BLUEPRINT, secret);
        form[2].1 = EXCHANGE;
        form.push(("fmi_path", agent));
        let t1 = member(&client.token(LOGIN, &form).await, "access_token");
        let claims = client.token(LOGIN, &agent_form(agent, &t1, GRAPH)).await.claims();
        assert_eq!((&claims["tid"], &claims["azp"]), (&json!(CONTOSO), &json!(agent)));
    }
}
