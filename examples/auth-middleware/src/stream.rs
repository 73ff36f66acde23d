//! Bodies, piece by piece.

use crate::bindings::wasi::http::types::OutgoingBody;
use crate::bindings::wasi::io::streams::{InputStream, OutputStream, StreamError};

const PIECE: u64 = 64 * 1024;

/// The next piece; `None` at the end.
pub(crate) fn read(stream: &InputStream) -> Result<Option<alloc::vec::Vec<u8>>, StreamError> {
    match stream.blocking_read(PIECE) {
        Ok(piece) => Ok(Some(piece)),
        Err(StreamError::Closed) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes bytes to a body.
pub(crate) fn write(body: &OutgoingBody, bytes: &[u8]) -> Result<(), StreamError> {
    write_all(&body.write().map_err(|()| StreamError::Closed)?, bytes)
}

/// Writes what was read already, and the rest as it comes.
pub(crate) fn copy(body: &OutgoingBody, first: &[u8], rest: &InputStream) -> Result<(), StreamError> {
    let stream = body.write().map_err(|()| StreamError::Closed)?;
    write_all(&stream, first)?;
    while let Some(piece) = read(rest)? {
        write_all(&stream, &piece)?;
    }
    Ok(())
}

/// Each piece is flushed: whoever waits for it gets it.
fn write_all(stream: &OutputStream, mut bytes: &[u8]) -> Result<(), StreamError> {
    while !bytes.is_empty() {
        let room = stream.check_write()?;
        if room == 0 {
            stream.subscribe().block();
            continue;
        }
        let (piece, rest) = bytes.split_at(bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
        stream.write(piece)?;
        bytes = rest;
    }
    stream.blocking_flush()
}
