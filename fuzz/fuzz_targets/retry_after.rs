//! The pauses that a server asks for, and the marks that are kept of them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use symbolon_protocol::response::retry_after_ms;
use symbolon_protocol::throttle::Mark;

fuzz_target!(|input: &[u8]| {
    if let Ok(text) = std::str::from_utf8(input) {
        for now in [0, 1_700_000_000_000, u64::MAX] {
            assert!(retry_after_ms(text, now).is_none_or(|pause| pause <= 3_600_000));
        }
    }
    if let Some(mark) = Mark::decode(input) {
        assert_eq!(Mark::decode(&mark.encode()).as_ref(), Some(&mark));
        let _ = mark.error("login.microsoftonline.com", 1_700_000_000_000);
    }
});
