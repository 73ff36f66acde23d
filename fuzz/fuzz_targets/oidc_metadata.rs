//! Metadata of OpenID Connect providers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use symbolon_protocol::authority::Authority;
use symbolon_protocol::provider::Metadata;

fuzz_target!(|body: &[u8]| {
    let Ok(authority) = Authority::oidc("https://idp.contoso.test") else { return };
    if let Ok(metadata) = Metadata::parse(body, &authority) {
        for mtls in [false, true] {
            assert!(metadata.token_endpoint(mtls).starts_with("https://"));
        }
    }
});
