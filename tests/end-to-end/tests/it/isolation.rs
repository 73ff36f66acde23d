//! An application can't read or guess what belongs to another (I5), seen from inside the sandbox.

use symbolon_end_to_end::{GRAPH, World, engine, hostile_engine, order};

#[tokio::test]
async fn facts_and_entries_are_an_applications_own() {
    let (world, hostile) = (World::start().await, hostile_engine(|builder| builder));
    let (one, other) = (world.application(&hostile, "secret"), world.application(&hostile, "certificate"));

    assert_eq!(order(&one, "fact region=westus2").await.expect("an answer"), "kept");
    assert_eq!(order(&one, "fact region").await.expect("an answer"), "westus2");
    assert_eq!(order(&other, "fact region").await.expect("an answer"), "nothing");
}

/// Two applications with the same client id, tenant and scope, so that only the host's addition to the keys sets them apart.
#[tokio::test]
async fn the_host_adds_the_application_to_every_key() {
    let (world, symbolon) = (World::start().await, engine());
    let options = world.options("secret", |_| {}).expect("options");
    let twin = options.clone().with_id(symbolon::ApplicationId::new("twin"));
    let (one, twin) =
        (symbolon.application(options).expect("one"), symbolon.application(twin).expect("its twin"));

    let token = one.acquire_token_for_client([GRAPH]).await.expect("a token");
    let other = twin.acquire_token_for_client([GRAPH]).await.expect("a token");
    assert_ne!(token.access_token(), other.access_token());
    assert_eq!(world.token_requests().len(), 2);
}
