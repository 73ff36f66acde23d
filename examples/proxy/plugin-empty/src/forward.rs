//! Forwarding over `wasi:http`: bodies go in both directions at once, part by part as they come.

use alloc::vec::Vec;

use crate::bindings::wasi::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingRequest, IncomingResponse, OutgoingBody,
    OutgoingRequest, OutgoingResponse, ResponseOutparam,
};
use crate::bindings::wasi::io::poll::{self, Pollable};
use crate::bindings::wasi::io::streams::{InputStream, OutputStream, StreamError};

/// How much is moved at once, in bytes.
const PART: u64 = 256 * 1024;

/// The request without its body. The proxy has given it its URL already.
pub(crate) fn outgoing(request: &IncomingRequest, headers: Fields) -> OutgoingRequest {
    let outgoing = OutgoingRequest::new(headers);
    or_break(outgoing.set_method(&request.method()));
    or_break(outgoing.set_scheme(request.scheme().as_ref()));
    or_break(outgoing.set_authority(request.authority().as_deref()));
    or_break(outgoing.set_path_with_query(request.path_with_query().as_deref()));
    outgoing
}

/// A body that comes in, where there is one.
pub(crate) fn body(body: Result<IncomingBody, ()>) -> Option<Incoming> {
    let body = or_break(body);
    let stream = or_break(body.stream());
    // Reading nothing tells whether there is something.
    match stream.read(0) {
        Ok(_) => Some(Incoming { stream, _body: body }),
        Err(StreamError::Closed) => None,
        Err(StreamError::LastOperationFailed(_)) => break_off(),
    }
}

/// A body that comes in. The stream goes before the body that it is of.
pub(crate) struct Incoming {
    pub(crate) stream: InputStream,
    _body: IncomingBody,
}

/// A body on its way through.
pub(crate) struct Pipe {
    from: Incoming,
    to: OutputStream,
    target: OutgoingBody,
}

impl Pipe {
    pub(crate) fn new(from: Incoming, target: Result<OutgoingBody, ()>) -> Self {
        let target = or_break(target);
        Self { from, to: or_break(target.write()), target }
    }

    /// Moves what there is. Gives what must happen before there is more, and nothing where no more comes or no more is wanted.
    fn advance(&self) -> Option<Pollable> {
        loop {
            match self.to.splice(&self.from.stream, PART) {
                Ok(0) => break,
                Ok(_) => {}
                Err(StreamError::Closed) => return None,
                Err(StreamError::LastOperationFailed(_)) => break_off(),
            }
        }
        match self.to.check_write() {
            Ok(0) => Some(self.to.subscribe()),
            Ok(_) => Some(self.from.stream.subscribe()),
            Err(_) => None,
        }
    }

    fn finish(self) {
        drop(self.to);
        // Who was told the length and got another one sees it; there is nobody else to tell.
        let _ = OutgoingBody::finish(self.target, None);
    }
}

/// Waits for the head of the answer, while the body of the request is on its way.
pub(crate) fn head(
    answer: &FutureIncomingResponse,
    sending: &mut Option<Pipe>,
) -> Result<IncomingResponse, ErrorCode> {
    loop {
        let sent = advance(sending);
        if let Some(answer) = answer.get() {
            return or_break(answer);
        }
        wait([sent, Some(answer.subscribe())]);
    }
}

/// Answers with what upstream answers, while the rest of the request's body is on its way.
pub(crate) fn respond(answer: IncomingResponse, mut sending: Option<Pipe>, out: ResponseOutparam) {
    let response = OutgoingResponse::new(answer.headers().clone());
    or_break(response.set_status_code(answer.status()));
    let mut receiving = body(answer.consume()).map(|body| Pipe::new(body, response.body()));
    ResponseOutparam::set(out, Ok(response));
    while sending.is_some() || receiving.is_some() {
        wait([advance(&mut sending), advance(&mut receiving)]);
    }
}

fn advance(pipe: &mut Option<Pipe>) -> Option<Pollable> {
    let more = pipe.as_ref()?.advance();
    if more.is_none() {
        pipe.take().map(Pipe::finish);
    }
    more
}

/// Waits for any of them.
fn wait(events: [Option<Pollable>; 2]) {
    let events: Vec<_> = events.iter().flatten().collect();
    if !events.is_empty() {
        poll::poll(&events);
    }
}

pub(crate) fn or_break<T>(result: Result<T, ()>) -> T {
    result.unwrap_or_else(|()| break_off())
}

/// Ends the instance: `wasi:http` has no other way to say that a body which has begun will not be complete.
pub(crate) fn break_off() -> ! {
    core::arch::wasm32::unreachable()
}
