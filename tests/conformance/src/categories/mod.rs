//! What each category of vectors means.

mod answers;
mod assertions;
mod caching;
mod claims;
mod keys;
mod names;
mod requests;

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
        "region_name" => names::region_name(input, checks),
        "region_discovery" => requests::explicit_region(input, checks),
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
        other => Err(Uncovered(format!("nothing runs {other}"))),
    }
}
