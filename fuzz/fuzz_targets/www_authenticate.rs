//! The challenges of an API.
#![no_main]

use libfuzzer_sys::fuzz_target;
use symbolon_protocol::challenge::{self, Answer, Presented, Refusal};

fuzz_target!(|input: (u16, bool, Vec<String>)| {
    let (status, is_certificate, challenges) = input;
    let presented = if is_certificate { Presented::Certificate } else { Presented::Token };
    let _ = challenge::claims(&challenges);
    let answer = Answer::Status(status);
    let _ =
        challenge::review(&Refusal { presented, answer, challenges, attempt: 1, bad_request_rejects: true });
});
