//! Response bodies: whole ones, and the ways in which a body can go wrong.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Interval, MissedTickBehavior, Sleep, interval, sleep};

use crate::wire::Plug;

/// How long the first half of a torn body has to leave before the connection is reset.
const TEAR: Duration = Duration::from_millis(20);
/// Large bodies are sent in chunks of this size.
const CHUNK: u64 = 64 * 1024;

/// The body of a response.
pub(crate) enum Body {
    /// Everything at once; nothing after it was taken.
    Whole(Option<Bytes>),
    /// A start, then spaces up to the size. `declared` gives the size beforehand.
    Padded { start: Option<Bytes>, spaces: u64, declared: bool },
    /// A space at a time for ever.
    Dripping(Interval),
    /// A start, then the connection is reset.
    Torn { start: Option<Bytes>, wait: Pin<Box<Sleep>>, plug: Arc<Plug> },
}

impl Body {
    pub(crate) fn padded(start: Bytes, size: u64, declared: bool) -> Self {
        let spaces = size.saturating_sub(start.len() as u64);
        Self::Padded { start: Some(start), spaces, declared }
    }

    pub(crate) fn dripping(every: Duration) -> Self {
        // An interval of zero is not allowed.
        let every = every.max(Duration::from_millis(1));
        let mut drip = interval(every);
        drip.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self::Dripping(drip)
    }

    pub(crate) fn torn(start: Bytes, plug: Arc<Plug>) -> Self {
        Self::Torn { start: Some(start), wait: Box::pin(sleep(TEAR)), plug }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Padded { start, spaces, .. } => {
                if let Some(start) = start.take() {
                    return Poll::Ready(Some(Ok(Frame::data(start))));
                }
                let size = (*spaces).min(CHUNK);
                *spaces -= size;
                let chunk = vec![b' '; usize::try_from(size).unwrap_or(0)];
                Poll::Ready((size > 0).then(|| Ok(Frame::data(Bytes::from(chunk)))))
            }
            Self::Dripping(drip) => {
                drip.poll_tick(context).map(|_| Some(Ok(Frame::data(Bytes::from_static(b" ")))))
            }
            Self::Torn { start, wait, plug } => {
                if let Some(start) = start.take() {
                    return Poll::Ready(Some(Ok(Frame::data(start))));
                }
                wait.as_mut().poll(context).map(|()| {
                    plug.reset();
                    Some(Err(io::ErrorKind::ConnectionReset.into()))
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Padded { start, spaces, .. } => start.is_none() && *spaces == 0,
            Self::Dripping(_) | Self::Torn { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Padded { start, spaces, declared: true } => {
                SizeHint::with_exact(start.as_ref().map_or(0, |start| start.len() as u64) + spaces)
            }
            Self::Padded { .. } | Self::Dripping(_) | Self::Torn { .. } => SizeHint::default(),
        }
    }
}
