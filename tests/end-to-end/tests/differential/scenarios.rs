//! What both are asked for.

use std::time::Duration;

use serde_json::Value;
use symbolon_authority::{PFX_PASSWORD, REDIRECT_URI, UserToken, sample};
use symbolon_end_to_end::{GRAPH, World};

use crate::flows::{Call, Client, Credential, Flow, NamedUser};
use crate::pair::Pair;

const READ: &str = "https://graph.microsoft.com/User.Read";
const MAIL: &str = "https://graph.microsoft.com/Mail.Read";
const EXCHANGE: &str = "api://AzureADTokenExchange/.default";
const CLAIMS: &str = r#"{"access_token":{"nbf":{"essential":true,"value":"1701477303"}}}"#;

pub(crate) async fn run(pair: &mut Pair) {
    client_credentials(pair).await;
    certificates(pair).await;
    claims_and_regions(pair).await;
    fmi_paths(pair).await;
    on_behalf_of(pair).await;
    sign_ins(pair).await;
    federated_users(pair).await;
    agents(pair).await;
    // Last, because time doesn't go back.
    proactive_refresh(pair).await;
}

async fn client_credentials(pair: &mut Pair) {
    let client = by_secret(&pair.world, "secret", "secret");
    pair.step("client credentials", &client, &for_client()).await;
    pair.step("client credentials again", &client, &for_client()).await;
}

async fn certificates(pair: &mut Pair) {
    let pfx = Credential::Pfx { pfx: pair.world.path("client.pfx"), password: PFX_PASSWORD };
    let by_pfx = Client::new("pfx", sample::CERTIFICATE, pfx);
    pair.step("client credentials, certificate", &by_pfx, &for_client()).await;
    pair.step("client credentials, certificate again", &by_pfx, &for_client()).await;
    let by_pem = by_certificate(&pair.world, "pem", sample::CERTIFICATE, "client.pem", "SHA-256");
    pair.step("client credentials, x5c", &by_pem, &for_client()).await;
    let by_name =
        by_certificate(&pair.world, "subject name", sample::SUBJECT_NAME, "client-chain.pem", "SHA-256");
    pair.step("client credentials, x5c of a chain", &by_name, &for_client()).await;
    let by_sha1 = by_certificate(&pair.world, "sha1", sample::CERTIFICATE, "client.pem", "SHA-1");
    pair.step("client credentials, SHA-1", &by_sha1, &for_client()).await;
}

async fn claims_and_regions(pair: &mut Pair) {
    let client = by_secret(&pair.world, "capabilities", "secret").capability("cp1").capability("cp2");
    pair.step("capabilities", &client, &for_client()).await;
    pair.step("claims and capabilities", &client, &for_client().claims(CLAIMS)).await;
    pair.step("client's own claims", &client, &for_client().client_claims(CLAIMS)).await;
    pair.step("client's own claims again", &client, &for_client().client_claims(CLAIMS)).await;
    let client = by_secret(&pair.world, "region", "secret").region("westus2");
    pair.step("region", &client, &for_client()).await;
    let client =
        by_certificate(&pair.world, "certificate in a region", sample::CERTIFICATE, "client.pem", "SHA-256");
    pair.step("region, x5c", &client.region("westus2"), &for_client()).await;
}

async fn fmi_paths(pair: &mut Pair) {
    let client = by_secret(&pair.world, "fmi paths", "secret");
    let path = |fmi_path| Flow::ClientCredentials { fmi_path: Some(fmi_path) }.scopes([EXCHANGE]);
    pair.step("FMI path", &client, &path("orders/worker")).await;
    pair.step("FMI path again", &client, &path("orders/worker")).await;
    pair.step("another FMI path", &client, &path("orders/printer")).await;
}

async fn on_behalf_of(pair: &mut Pair) {
    let client = by_secret(&pair.world, "web api", "web-api");
    let call = Flow::OnBehalfOf { assertion: user_token(&pair.world, sample::WEB_API) }.scopes([READ, MAIL]);
    pair.step("on behalf of", &client, &call).await;
    pair.step("on behalf of again", &client, &call).await;
    let client = by_secret(&pair.world, "web api with capability", "web-api").capability("cp1");
    pair.step("on behalf of, claims", &client, &call.claims(CLAIMS)).await;
    let (name, id) = ("web api by certificate", sample::WEB_API_CERTIFICATE);
    let client = by_certificate(&pair.world, name, id, "client.pem", "SHA-256");
    let call = Flow::OnBehalfOf { assertion: user_token(&pair.world, id) }.scopes([READ]);
    pair.step("on behalf of, x5c", &client, &call).await;
}

async fn sign_ins(pair: &mut Pair) {
    let (username, password) = (sample::ALICE, sample::ALICE_PASSWORD);
    let client = by_secret(&pair.world, "sign-in", "web-api");
    let call = Flow::AuthorizationCode { username, redirect_uri: REDIRECT_URI }.scopes([READ]);
    pair.step("authorization code", &client, &call).await;
    pair.step("silent", &client, &Flow::Silent.scopes([READ])).await;
    pair.step("silent for more", &client, &Flow::Silent.scopes([MAIL])).await;
    let client = by_secret(&pair.world, "password", "web-api");
    let call = Flow::UsernamePassword { username, password }.scopes([READ]);
    pair.step("username and password", &client, &call).await;
    pair.step("silent after a password", &client, &Flow::Silent.scopes([MAIL])).await;
    let earlier = pair.msal(&by_secret(&pair.world, "earlier library", "web-api"), &call);
    let client = by_secret(&pair.world, "migration", "web-api");
    let call = Flow::RefreshToken { token: text(&earlier, "refresh_token") }.scopes([READ]);
    pair.step("refresh token", &client, &call).await;
    pair.step("silent after a refresh token", &client, &Flow::Silent.scopes([READ])).await;
}

async fn federated_users(pair: &mut Pair) {
    let client = by_secret(&pair.world, "federated users", "web-api");
    let exchange = Flow::ClientCredentials { fmi_path: None }.scopes([EXCHANGE]);
    let assertion = text(&pair.msal(&client, &exchange), "access_token");
    let call =
        |user| Flow::UserFederatedIdentityCredential { user, assertion: assertion.clone() }.scopes([READ]);
    let by_name = call(NamedUser::Username(sample::ALICE));
    pair.step("federated user by name", &client, &by_name).await;
    pair.step("federated user, silent", &client, &Flow::Silent.scopes([READ])).await;
    let by_id = call(NamedUser::UserObjectId(sample::ALICE_OBJECT_ID));
    pair.step("federated user by object id", &client, &by_id).await;
    pair.step("federated user, silent for more", &client, &Flow::Silent.scopes([MAIL])).await;
}

async fn agents(pair: &mut Pair) {
    let blueprint = by_secret(&pair.world, "blueprint", "blueprint");
    let call = |agent, user| Flow::Agent { agent, user, user_assertion: None }.scopes([GRAPH]);
    let one = |user| call(sample::AGENT_ONE, user);
    pair.step("agent", &blueprint, &one(None)).await;
    pair.step("agent again", &blueprint, &one(None)).await;
    let alice = one(Some(NamedUser::Username(sample::ALICE)));
    pair.step("agent's user by name", &blueprint, &alice).await;
    pair.step("agent's user again", &blueprint, &alice).await;
    let bob = one(Some(NamedUser::UserObjectId(sample::BOB_OBJECT_ID)));
    pair.step("agent's user by object id", &blueprint, &bob).await;
    let user_assertion = Some(user_token(&pair.world, sample::BLUEPRINT));
    let call = Flow::Agent { agent: sample::AGENT_TWO, user: None, user_assertion }.scopes([READ]);
    pair.step("agent on behalf of", &blueprint, &call).await;
}

async fn proactive_refresh(pair: &mut Pair) {
    let client = by_secret(&pair.world, "refresh", "refresh");
    pair.step("token to be renewed", &client, &for_client()).await;
    pair.advance(Duration::from_secs(13 * 60 * 60));
    pair.step_with_renewal("renewal", &client, &for_client()).await;
    pair.step("renewed token", &client, &for_client()).await;
}

fn for_client() -> Call {
    Flow::ClientCredentials { fmi_path: None }.scopes([GRAPH])
}

/// One of the authority's sample applications that has a secret.
fn by_secret(world: &World, name: &'static str, sample: &str) -> Client {
    let settings = &world.settings(sample)["AzureAd"];
    let secret = text(&settings["ClientCredentials"][0], "ClientSecret");
    Client::new(name, &text(settings, "ClientId"), Credential::Secret { secret })
}

fn by_certificate(
    world: &World,
    name: &'static str,
    client_id: &str,
    file: &str,
    thumbprint: &'static str,
) -> Client {
    Client::new(name, client_id, Credential::Pem { pem: world.path(file), thumbprint })
}

/// What Alice calls that API with.
fn user_token(world: &World, api: &str) -> String {
    world.authority.user_token(&UserToken::new(sample::ALICE, api)).expect("a user")
}

fn text(object: &Value, member: &str) -> String {
    object[member].as_str().unwrap_or_else(|| panic!("no {member}")).to_owned()
}
