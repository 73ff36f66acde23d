//! Answers of instance discovery, of WebFinger, and of the metadata service about its region.
#![no_main]

use libfuzzer_sys::fuzz_target;
use symbolon_protocol::instance::{self, Instance};
use symbolon_protocol::region;

fuzz_target!(|body: &[u8]| {
    for host in ["login.contoso.test", "login.microsoftonline.com"] {
        if let Some(instance) = Instance::of_answer(body, host) {
            assert_eq!(Instance::decode(&instance.encode()), Some(instance));
        }
    }
    let _ = (instance::is_refusal(body), instance::is_trusted_realm(body, "https://fs.contoso.test"));
    let _ = Instance::decode(body);
    if let Some(region) = region::of_metadata(body) {
        assert!(region.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric()));
    }
    if let Some(version) = region::newest_version(body) {
        let path = region::metadata_path(Some(&version));
        assert!(path.bytes().all(|byte| byte.is_ascii_graphic()));
    }
});
