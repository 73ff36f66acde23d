//! Whole acquisitions, of which every answer is the fuzzer's: of tokens, of names of clouds, of metadata, of platforms.
#![no_main]

use libfuzzer_sys::fuzz_target;
use symbolon_protocol::response::{HttpResponse, TransportError, TransportErrorKind};

#[path = "../../guest/protocol/tests/common/untrusted.rs"]
mod untrusted;

// Which question, and the answers, one after the other: a line with a status, `Retry-After` and `WWW-Authenticate` between
// tabs, and a body, between NULs.
fuzz_target!(|input: &[u8]| {
    let Some((question, rest)) = input.split_first() else { return };
    let answers: Vec<_> = rest.split(|byte| *byte == 0).take(8).map(answer).collect();
    untrusted::acquire(usize::from(*question), &answers);
});

fn answer(text: &[u8]) -> Result<HttpResponse, TransportError> {
    let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
    let (line, body) = text.split_at(end);
    let line = String::from_utf8_lossy(line);
    let mut headers = line.split('\t');
    let Some(Ok(status)) = headers.next().map(str::parse) else {
        let kind = TransportErrorKind::Timeout;
        return Err(TransportError { kind, detail: "no status".into(), may_be_sent: true });
    };
    let mut header = || headers.next().filter(|value| !value.is_empty()).map(str::to_owned);
    Ok(HttpResponse {
        status,
        retry_after: header(),
        challenge: header(),
        date: header(),
        server: header(),
        body: body.get(1..).unwrap_or_default().to_vec(),
    })
}
