//! The body of a successful answer of the token endpoint, and what is read from its tokens.
#![no_main]

use libfuzzer_sys::fuzz_target;
use symbolon_protocol::identity::{AssertionSubject, ClientInfo, IdTokenClaims};
use symbolon_protocol::response::{self, Exchange, HttpResponse};

fuzz_target!(|body: &[u8]| {
    let answer = HttpResponse {
        status: 200,
        retry_after: None,
        challenge: None,
        date: None,
        server: None,
        body: body.to_vec(),
    };
    let exchange = Exchange {
        token_type: "Bearer",
        client_id: "client",
        blueprint: None,
        host: "login.microsoftonline.com",
        bound: false,
        single_use: false,
        correlation_id: "",
        now: 1_700_000_000_000,
    };
    if let Ok(token) = response::parse(&answer, &exchange) {
        assert!(!token.access_token.is_empty());
        let _ = token.client_info.as_deref().map(ClientInfo::parse);
        let _ = token.id_token.as_deref().map(IdTokenClaims::parse);
        let _ = AssertionSubject::parse(&token.access_token);
    }
});
