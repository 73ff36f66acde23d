//! Components that have an application's credentials, each in a sandbox of its own: what works with keys in the host works
//! with keys in a component.

use symbolon_end_to_end::World;
use symbolon_end_to_end::keys::Keys;

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
