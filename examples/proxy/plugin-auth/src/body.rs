//! The body of a request that may have to be sent twice.

use alloc::vec::Vec;

use crate::bindings::wasi::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingRequest};
use crate::bindings::wasi::io::streams::StreamError;
use crate::forward::{self, Incoming, Pipe};

/// Up to which length a body is kept, in bytes.
const KEPT: usize = 16 * 1024;

pub(crate) enum Body {
    /// All of it, so that it can be sent again. Empty where there is none.
    Kept(Vec<u8>),
    /// It is too long for that, or of unknown length, and goes through once.
    Once(Option<Incoming>),
}

impl Body {
    /// Reads a body that says it is short.
    pub(crate) fn read(request: &IncomingRequest, headers: &Fields) -> Self {
        let Some(incoming) = forward::body(request.consume()) else { return Self::Kept(Vec::new()) };
        if length(headers).is_none_or(|length| length > KEPT) {
            return Self::Once(Some(incoming));
        }
        let mut bytes = Vec::new();
        loop {
            match incoming.stream.blocking_read(KEPT as u64) {
                Ok(part) => bytes.extend(part),
                Err(StreamError::Closed) => return Self::Kept(bytes),
                Err(StreamError::LastOperationFailed(_)) => forward::break_off(),
            }
        }
    }

    /// Whether [`send`](Self::send) sends it, once more.
    pub(crate) fn is_left(&self) -> bool {
        matches!(self, Self::Kept(_) | Self::Once(Some(_)))
    }

    /// Puts it into the request: at once, or on its way.
    pub(crate) fn send(&mut self, outgoing: &OutgoingRequest) -> Option<Pipe> {
        match self {
            Self::Kept(bytes) if bytes.is_empty() => None,
            Self::Kept(bytes) => {
                write(bytes, forward::or_break(outgoing.body()));
                None
            }
            Self::Once(incoming) => incoming.take().map(|body| Pipe::new(body, outgoing.body())),
        }
    }
}

/// A body takes more than what is kept before anyone reads it.
fn write(bytes: &[u8], body: OutgoingBody) {
    let stream = forward::or_break(body.write());
    let room = stream.check_write();
    if room.is_ok_and(|room| room >= bytes.len() as u64) && stream.write(bytes).is_ok() {
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
    } else {
        forward::break_off();
    }
}

fn length(headers: &Fields) -> Option<usize> {
    core::str::from_utf8(headers.get("content-length").first()?).ok()?.parse().ok()
}
