//! What each category of vectors means.

pub(crate) mod agents;
mod answers;
mod assertions;
mod caching;
mod calls;
mod challenges;
mod claims;
mod clients;
mod configurations;
mod credentials;
mod keys;
mod names;
mod pauses;
mod platform;
mod regions;
mod requests;
mod scenario;
mod sequences;
mod sessions;
mod sidecar;
mod tenants;
mod token_caches;

use crate::{
    checks::{Checks, Verdict},
    input::{Input, Read, Uncovered},
    rules,
    vectors::Vector,
};

/// Runs one vector.
pub(crate) fn run(vector: &Vector) -> Verdict {
    let (expect, rules) = rules::apply(vector);
    if expect.is_empty() {
        return Verdict::Uncovered("it expects nothing".into());
    }
    let input = Input::new(&vector.input);
    let mut checks = Checks::new(&expect);
    let covered = dispatch(&vector.category, &input, &mut checks).and_then(|()| input.finish());
    match covered {
        Ok(()) => checks.finish(rules),
        Err(Uncovered(reason)) => Verdict::Uncovered(reason),
    }
}

fn dispatch(category: &str, input: &Input<'_>, checks: &mut Checks<'_>) -> Read<()> {
    match category {
        "authority" => names::authority(input, checks),
        "tenant_override" => names::tenant_override(input, checks),
        "instance_discovery" => names::instance_discovery(input, checks),
        "cloud_metadata" => names::cloud_metadata(input, checks),
        "host_map" => names::host_map(input, checks),
        "oidc_issuer" => names::oidc_issuer(input, checks),
        "region_name" => names::region_name(input, checks),
        "region_discovery" => regions::region_discovery(input, checks),
        "token_request" => requests::token_request(input, checks),
        "credential_matrix" => requests::credential_matrix(input, checks),
        "http_retry" => requests::http_retry(input, checks),
        "telemetry_header" => requests::telemetry_header(input, checks),
        "client_assertion" => assertions::client_assertion(input, checks),
        "ext_hash" => keys::ext_hash(input, checks),
        "item_key" => keys::item_key(input, checks),
        "partition_key" => keys::partition_key(input, checks),
        "item_json" => keys::item_json(input, checks),
        "cache_behaviour" => caching::cache_behaviour(input, checks),
        "error_mapping" => answers::error_mapping(input, checks),
        "certificate_reload" => answers::certificate_reload(input, checks),
        "is_retryable_certificate_error" => answers::retryable_certificate_error(input, checks),
        "claims_merge" => claims::claims_merge(input, checks),
        "misc" => claims::misc(input, checks),
        "managed_identity" => match input.text("cloud")? {
            Some(cloud) => agents::exchange_audience(cloud, checks),
            None => platform::managed_identity(input, checks),
        },
        "throttling" => pauses::throttling(input, checks),
        "token_requests" => agents::token_requests(input, checks),
        "detect_agent_user_flow" => agents::detect_agent_user_flow(input, checks),
        "agent_precedence" => sidecar::agent_precedence(input, checks),
        "apply_agent_helpers" => agents::apply_agent_helpers(input, checks),
        "is_agent_user_identity" => agents::is_agent_user_identity(input, checks),
        "exchange_scope" => agents::exchange_scope(input, checks),
        "resolve_inner_tenant" => tenants::resolve_inner_tenant(input, checks),
        "extract_tenant_same_instance" => tenants::extract_tenant_same_instance(input, checks),
        "parse_authority" => configurations::parse_authority(input, checks),
        "prepare_instance" => configurations::prepare_instance(input, checks),
        "ciam_authority" => configurations::ciam_authority(input, checks),
        "resolve_app_tenant" => tenants::resolve_app_tenant(input, checks),
        "apply_tenant_override" => tenants::apply_tenant_override(input, checks),
        "select_credential" => credentials::select_credential(input, checks),
        "run_sequence" => sequences::run_sequence(input, checks),
        "extension_events" => sequences::extension_events(input, checks),
        "validate_app_scope" => sequences::validate_app_scope(input, checks),
        "is_reserved_header" => calls::reserved_header(input, checks),
        "api_url" => calls::api_url(input, checks),
        "build_request" => calls::build_request(input, checks),
        "append_extra_query" => calls::append_extra_query(input, checks),
        "serialize" => calls::serialize(input, checks),
        "deserialize" => calls::deserialize(input, checks),
        "mtls_downstream_call" => challenges::mtls_downstream_call(input, checks),
        "send_with_challenge" => challenges::send_with_challenge(input, checks),
        "send" => challenges::send(input, checks),
        "credential_id" => credentials::credential_id(input, checks),
        "parse_store_path" => credentials::parse_store_path(input, checks),
        "user_token_call" => sessions::user_token_call(input, checks),
        "long_running_mode" => sessions::long_running_mode(input, checks),
        "authenticate" => clients::authenticate(input, checks),
        "same_client_application" => clients::same_client_application(input, checks),
        "merge_extra_query" => clients::merge_extra_query(input, checks),
<<<<<<< HEAD
=======
        "effective_options" => sidecar::effective_options(input, checks),
        "caller_allowed" => sidecar::caller_allowed(input, checks),
        "http_exchange" => sidecar::http_exchange(input, checks),
        "override_gate" => sidecar::override_gate(input, checks),
>>>>>>> routes
        "cache_read" => token_caches::cache_read(input, checks),
        "cache_write" => token_caches::cache_write(input, checks),
        "cache_read_after_write" => token_caches::cache_read_after_write(input, checks),
        "cache_construct" => token_caches::cache_construct(input, checks),
        "cache_unprotect" => token_caches::cache_unprotect(input, checks),
        "cache_after_access" => token_caches::cache_after_access(input, checks),
<<<<<<< HEAD
        "effective_options" => sidecar::effective_options(input, checks),
        "caller_allowed" => sidecar::caller_allowed(input, checks),
        "http_exchange" => sidecar::http_exchange(input, checks),
        "override_gate" => sidecar::override_gate(input, checks),
=======
>>>>>>> routes
        other => Err(Uncovered(format!("nothing runs {other}"))),
    }
}
