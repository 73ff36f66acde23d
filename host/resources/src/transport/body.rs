use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::deadline::Deadline;
use super::error::{Phase, TransportError, TransportErrorKind};
use super::pool::Lease;

/// The body of an answer, as it arrives: limited in size, and in time by the attempt's deadline.
///
/// Read to its end, it gives its connection back; dropped before, it closes an HTTP/1.1 connection and resets an HTTP/2
/// stream.
pub struct Body {
    authority: String,
    incoming: Incoming,
    /// How many bytes more are accepted.
    remaining: usize,
    limit: usize,
    deadline: Deadline,
    /// `None` once the body has ended, well or not.
    lease: Option<Lease>,
}

impl Body {
    /// Takes over an answer's body, which the server may announce to be too long already.
    pub(super) fn new(
        authority: String,
        incoming: Incoming,
        limit: usize,
        deadline: Deadline,
        lease: Lease,
    ) -> Result<Self, TransportError> {
        let mut body = Self { authority, incoming, remaining: limit, limit, deadline, lease: Some(lease) };
        if body.incoming.size_hint().lower() > limit as u64 {
            return Err(body.too_large());
        }
        if body.incoming.is_end_stream() {
            body.end();
        }
        Ok(body)
    }

    fn accept(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, TransportError> {
        let length = frame.data_ref().map_or(0, Bytes::len);
        self.remaining = self.remaining.checked_sub(length).ok_or_else(|| self.too_large())?;
        if self.incoming.is_end_stream() {
            self.end();
        }
        Ok(frame)
    }

    fn end(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.release();
        }
    }

    fn fail(&mut self, error: TransportError) -> Poll<Option<Result<Frame<Bytes>, TransportError>>> {
        self.lease = None;
        tracing::debug!(
            name: "symbolon.transport.body",
            host = self.authority,
            outcome = ?error.kind(),
            "an answer did not complete"
        );
        Poll::Ready(Some(Err(error)))
    }

    fn too_large(&self) -> TransportError {
        let detail = format!("the answer is longer than the limit of {} bytes", self.limit);
        TransportError::new(TransportErrorKind::ResponseTooLarge, &*self.authority, detail).sent()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = TransportError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TransportError>>> {
        let body = self.get_mut();
        if body.lease.is_none() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(&mut body.incoming).poll_frame(context) {
            body.deadline.progressed();
            return match frame {
                Some(Ok(frame)) => match body.accept(frame) {
                    Ok(frame) => Poll::Ready(Some(Ok(frame))),
                    Err(error) => body.fail(error),
                },
                Some(Err(error)) => {
                    if let Some(lease) = body.lease.take() {
                        lease.abandon();
                    }
                    body.fail(TransportError::body(&body.authority, &error))
                }
                None => {
                    body.end();
                    Poll::Ready(None)
                }
            };
        }
        ready!(body.deadline.poll(context));
        body.fail(body.deadline.passed(&body.authority, Phase::ReadingBody))
    }

    fn is_end_stream(&self) -> bool {
        self.lease.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.lease {
            Some(_) => self.incoming.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("authority", &self.authority).finish_non_exhaustive()
    }
}
