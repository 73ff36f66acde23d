//! Bodies between the proxy and a plugin.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::{Body, Frame, SizeHint};
use wasmtime_wasi_http::Error;

use crate::run::Run;

/// A body that a plugin reads or writes. It ends well only where the plugin wasn't broken off.
pub(crate) struct Watched<B, T = ()> {
    body: B,
    run: Arc<Run>,
    /// How much is still to come, where that is known.
    left: Option<u64>,
    /// What goes with the body: nothing of a request outlives its answer.
    _with: T,
}

impl<B, T> Watched<B, T> {
    /// `headers` are those of the message.
    pub(crate) fn new(body: B, run: Arc<Run>, headers: &HeaderMap, with: T) -> Self {
        let left = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        Self { body, run, left, _with: with }
    }
}

impl<B, T> Body for Watched<B, T>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Error>,
    T: Unpin,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
        this.run.moves();
        if let (Some(left), Some(Ok(part))) = (&mut this.left, &frame) {
            *left = left.saturating_sub(part.data_ref().map_or(0, |part| part.len() as u64));
        }
        Poll::Ready(match frame {
            None if this.run.is_broken() => Some(Err(Error::HttpResponseIncomplete)),
            frame => frame.map(|frame| frame.map_err(Into::into)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(|| self.body.size_hint(), SizeHint::with_exact)
    }
}
