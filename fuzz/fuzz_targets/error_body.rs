//! The body of a refusal of the token endpoint, with its status and date.
#![no_main]

use libfuzzer_sys::fuzz_target;
use symbolon_protocol::response::{self, Exchange, HttpResponse};

fuzz_target!(|input: (u16, bool, Option<String>, &[u8])| {
    let (status, bound, date, body) = input;
    let status = if status == 200 { 400 } else { status };
    let answer =
        HttpResponse { status, retry_after: None, challenge: None, date, server: None, body: body.to_vec() };
    let exchange = Exchange {
        token_type: "mtls_pop",
        client_id: "client",
        blueprint: Some("blueprint").filter(|_| !bound),
        host: "mtlsauth.microsoft.com",
        bound,
        single_use: bound,
        correlation_id: "",
        now: 1_700_000_000_000,
    };
    match response::parse(&answer, &exchange) {
        Ok(_) => panic!("a refusal is no token"),
        Err(error) => assert!(!error.code.is_empty() && error.status == Some(status)),
    }
});
