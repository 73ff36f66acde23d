//! The instance metadata service: tokens, and the region.

use serde_json::{Value, json};
use symbolon_authority::{CONTOSO, Endpoint, ManagedIdentity, Platform, Registration, Source};

use crate::{platform_support::*, support::*};

fn ask<'a>() -> Ask<'a> {
    Ask::get(
        "/metadata/identity/oauth2/token",
        &[("api-version", "2018-02-01"), ("resource", MANAGEMENT)],
        &[("metadata", "true")],
    )
}

async fn call(site: &Site, ask: &Ask<'_>) -> Reply {
    site.call(Source::Imds, ask).await
}

fn error(description: &str) -> Value {
    json!({ "error": "invalid_request", "error_description": description })
}

#[tokio::test]
async fn a_token_of_the_system_assigned_identity() {
    let site = Site::new().await;
    let endpoint = site.variable(Source::Imds, "AZURE_POD_IDENTITY_AUTHORITY_HOST");
    assert_eq!(endpoint, format!("http://{}", site.platform.address(Source::Imds)));
    let reply = call(&site, &ask()).await;
    let answer = reply.json();
    assert_eq!(reply.header("server"), Some("IMDS/150.870.65.1854"));
    assert_eq!(answer["token_type"], "Bearer");
    assert_eq!(answer["resource"], MANAGEMENT);
    assert_eq!(answer["client_id"], SYSTEM);
    assert_eq!(answer["expires_in"], "86400");
    assert_eq!(answer["ext_expires_in"], "86400");
    assert_eq!(answer["not_before"], NOW.to_string());
    assert_eq!(answer["expires_on"], (NOW + 86400).to_string());
    let claims = claims(&reply);
    assert_eq!(claims["aud"], MANAGEMENT);
    assert_eq!(claims["iss"], format!("https://sts.windows.net/{CONTOSO}/"));
    assert_eq!((&claims["oid"], &claims["sub"]), (&json!(SYSTEM_OBJECT), &json!(SYSTEM_OBJECT)));
    assert_eq!((&claims["appid"], &claims["idtyp"]), (&json!(SYSTEM), &json!("app")));
    assert!(claims["xms_mirid"].as_str().unwrap().contains("/virtualMachines/"), "{claims}");
    assert_eq!(claims["exp"], NOW + 86400);
}

#[tokio::test]
async fn a_token_of_the_user_assigned_identity_by_each_of_its_ids() {
    let site = Site::new().await;
    for (name, value) in [
        ("client_id", USER.to_owned()),
        ("object_id", USER_OBJECT.to_uppercase()),
        ("msi_res_id", USER_RESOURCE.to_uppercase()),
    ] {
        let claims = claims(&call(&site, &ask().query(name, &value)).await);
        assert_eq!((&claims["oid"], &claims["xms_mirid"]), (&json!(USER_OBJECT), &json!(USER_RESOURCE)));
    }
    // App Service's name for it means nothing here.
    let claims = claims(&call(&site, &ask().query("mi_res_id", USER_RESOURCE)).await);
    assert_eq!(claims["oid"], SYSTEM_OBJECT);
}

#[tokio::test]
async fn a_token_is_a_federated_assertion() {
    let site = Site::new().await;
    let exchange = ask().query("resource", EXCHANGE_RESOURCE);
    let reply_of_exchange = call(&site, &exchange).await;
    let claims = claims(&reply_of_exchange);
    assert_eq!(claims["iss"], format!("https://{LOGIN}/{CONTOSO}/v2.0"));
    assert_eq!(claims["aud"], "fb60f99c-7a34-4190-8149-302f77469936");
    site.assert_federates(&reply_of_exchange).await;
    site.assert_federates(&call(&site, &exchange.clone().query("client_id", USER)).await).await;
    // A token for something else is none.
    let other =
        member(&call(&site, &ask().query("resource", "https://graph.microsoft.com")).await, "access_token");
    let reply = Client::new(&site.authority).token(LOGIN, &assertion_form(CLIENT, &other)).await;
    assert_refused(&reply, 401, "invalid_client", 700211);
    // The credential must name the exchange of this cloud.
    let token = member(&reply_of_exchange, "access_token");
    let issuer = claims["iss"].as_str().unwrap();
    for (audience, code) in [("api://AzureADTokenExchangeUSGov", 700212), ("api://other", 700212)] {
        let app = Registration::new(OTHER).federated_credential(issuer, SYSTEM_OBJECT, audience);
        site.authority.register(app);
        let answer = Client::new(&site.authority).token(LOGIN, &assertion_form(OTHER, &token)).await;
        assert_refused(&answer, 401, "invalid_client", code);
    }
    // The exchange of another cloud is no resource in this one.
    let reply = call(&site, &ask().query("resource", "api://AzureADTokenExchangeUSGov")).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["error"]), (400, &json!("invalid_resource")));
}

#[tokio::test]
async fn another_tenant_and_cloud() {
    let builder = Platform::builder().tenant("fabrikam.com").login_host("login.microsoftonline.us");
    let site = Site::of(builder.system_assigned(system()).region("usgovvirginia")).await;
    let reply = call(&site, &ask().query("resource", "api://AzureADTokenExchangeUSGov")).await;
    let fabrikam = symbolon_authority::FABRIKAM;
    assert_eq!(claims(&reply)["iss"], format!("https://login.microsoftonline.us/{fabrikam}/v2.0"));
    for wrong in [Platform::builder().tenant("nowhere.test"), Platform::builder().login_host("nowhere.test")]
    {
        let problem = wrong.start(&site.authority).await.unwrap_err().to_string();
        assert!(problem.contains("nowhere.test"), "{problem}");
    }
}

#[tokio::test]
async fn what_is_refused() {
    let site = Site::new().await;
    for (ask, description) in [
        (ask().header("metadata", ""), "Required metadata header not specified"),
        (ask().header("metadata", "True"), "Required metadata header not specified"),
        (ask().header("x-forwarded-for", "10.0.0.1"), "The header X-Forwarded-For is not allowed"),
        (ask().query("api-version", ""), "Required query variable 'api-version' is missing"),
        (ask().query("api-version", "2017-12-01"), "The api-version '2017-12-01' is not supported."),
        (ask().query("resource", ""), "Required query variable 'resource' is missing"),
        (ask().repeated("client_id"), "The query variable 'client_id' is repeated"),
        (ask().query("client_id", NOBODY), "Identity not found"),
        (ask().query("object_id", USER), "Identity not found"),
        (ask().query("msi_res_id", "/subscriptions/x"), "Identity not found"),
        (
            ask().query("client_id", USER).query("object_id", USER_OBJECT),
            "Only one of client_id, object_id and msi_res_id can be specified",
        ),
    ] {
        assert_body(&call(&site, &ask).await, 400, &error(description));
    }
    let reply = call(&site, &ask().query("resource", "https://nothing.test")).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["error"]), (400, &json!("invalid_resource")));
    let description = reply.json()["error_description"].as_str().unwrap().to_owned();
    assert!(description.starts_with("AADSTS500011: "), "{description}");
    // The resource is no scope.
    let reply = call(&site, &ask().query("resource", GRAPH)).await;
    assert_eq!(reply.json()["error"], "invalid_resource");
    assert_body(&call(&site, &ask().method("POST")).await, 405, &error("Method not allowed"));
    let reply = call(&site, &ask().path("/metadata/identity/oauth2/token/")).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["error"]), (404, &json!("not_found")));
}

#[tokio::test]
async fn which_identity_is_meant_when_none_is_named() {
    let only = Site::of(Platform::builder().user_assigned(user())).await;
    assert_eq!(claims(&call(&only, &ask()).await)["oid"], USER_OBJECT);
    let none = Site::of(Platform::builder()).await;
    assert_body(&call(&none, &ask()).await, 400, &error("Identity not found"));
    let other = ManagedIdentity::new(OTHER, NOBODY);
    let two = Site::of(Platform::builder().user_assigned(user()).user_assigned(other)).await;
    let description = "Multiple user assigned identities exist, please specify the clientId / resourceId of the \
                       identity in the token request";
    assert_body(&call(&two, &ask()).await, 400, &error(description));
    assert_eq!(claims(&call(&two, &ask().query("client_id", OTHER)).await)["oid"], NOBODY);
}

#[tokio::test]
async fn the_region() {
    let site = Site::new().await;
    let compute = |version| {
        Ask::get("/metadata/instance/compute", &[], &[("metadata", "true")]).query("api-version", version)
    };
    let reply = call(&site, &compute("2021-02-01")).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["location"]), (200, &json!("westus2")));
    assert_body(
        &call(&site, &compute("2021-02-01").header("metadata", "")).await,
        400,
        &error("Required metadata header not specified"),
    );

    let newer = Platform::builder().region("northeurope").instance_versions(["2030-01-01", "2029-01-01"]);
    let newer = Site::of(newer).await;
    for version in ["2021-02-01", ""] {
        let reply = call(&newer, &compute(version)).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.json()["newest-versions"]),
            (400, &json!(["2030-01-01", "2029-01-01"]))
        );
    }
    assert_eq!(call(&newer, &compute("2030-01-01")).await.json()["location"], "northeurope");
}

#[tokio::test]
async fn what_the_log_says() {
    let site = Site::new().await;
    let reply = call(&site, &ask().query("client_id", USER).header("x-client-sku", "Symbolon")).await;
    call(&site, &ask().header("metadata", "").header("x-forwarded-for", "10.0.0.1")).await;
    let log = site.authority.log();
    let [first, second] = log.as_slice() else { panic!("{log:?}") };
    assert_eq!((first.endpoint, first.status), (Some(Endpoint::Imds), Some(200)));
    assert_eq!(first.host, site.platform.address(Source::Imds).to_string());
    assert_eq!(first.query_text("resource"), Some(MANAGEMENT));
    assert_eq!(first.query_text("client_id"), Some(USER));
    assert_eq!((first.header("metadata"), first.header("x-client-sku")), (Some("true"), Some("Symbolon")));
    assert_eq!((second.status, second.error.as_deref()), (Some(400), Some("invalid_request")));
    assert_eq!(second.header("x-forwarded-for"), Some("10.0.0.1"));
    assert!(!format!("{log:?}{site:?}", site = site.platform).contains(&member(&reply, "access_token")));
    // Connections of a platform are not the authority's.
    let stats = site.platform.stats();
    assert_eq!((stats.tcp_connections, stats.host("imds").requests), (2, 2));
    assert_eq!(site.authority.stats().tcp_connections, 0);
}
