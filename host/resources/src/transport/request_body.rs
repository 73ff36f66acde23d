use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::time::{Duration, Instant};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a request brings: nothing, bytes that are all there, or a stream whose end isn't known yet.
pub struct RequestBody {
    content: Content,
    /// Told when a part of it was taken, where somebody wants to know.
    activity: Option<Arc<Activity>>,
}

enum Content {
    Whole(Bytes),
    /// Nobody waits for the lock: who reads has the body alone. It makes of a stream what threads may share, and with it of
    /// calls what may move between them.
    Stream(Mutex<Stream>),
}

type Stream = UnsyncBoxBody<Bytes, BoxError>;

impl RequestBody {
    /// Nothing.
    pub fn empty() -> Self {
        Self::whole(Bytes::new())
    }

    /// Bytes that are all there, and so can be sent again.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self { content: Content::Whole(bytes.into()), activity: None }
    }

    /// What is still to come. It goes out as it comes, and once. One that has ended already is [`empty`](Self::empty).
    pub fn stream<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if body.is_end_stream() {
            return Self::empty();
        }
        Self { content: Content::Stream(Mutex::new(body.map_err(Into::into).boxed_unsync())), activity: None }
    }

    /// The bytes, where they are all there.
    pub fn bytes(&self) -> Option<&Bytes> {
        match &self.content {
            Content::Whole(bytes) => Some(bytes),
            Content::Stream(_) => None,
        }
    }

    /// The same once more, where the bytes are all there.
    pub(super) fn again(&self) -> Option<Self> {
        let content = Content::Whole(self.bytes()?.clone());
        Some(Self { content, activity: self.activity.clone() })
    }

    /// The same, with as much of a stream read as it takes to know whether it ends within `limit` bytes. If it does, the
    /// bytes are all there afterwards.
    ///
    /// # Errors
    ///
    /// The stream's own.
    pub async fn buffered(self, limit: usize) -> Result<Self, BoxError> {
        let is_longer = self.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX);
        let mut rest = match self.content {
            Content::Stream(stream) if !is_longer => {
                stream.into_inner().unwrap_or_else(PoisonError::into_inner)
            }
            content => return Ok(Self { content, ..self }),
        };
        let mut parts = Vec::new();
        let mut length = 0;
        while length <= limit {
            let Some(frame) = rest.frame().await else { return Ok(Self::whole(joined(parts))) };
            match frame?.into_data() {
                Ok(part) => {
                    length = part.len().saturating_add(length);
                    parts.push(part);
                }
                Err(frame) => {
                    let begun = Begun { parts: parts.into_iter(), trailers: Some(frame), rest };
                    return Ok(Self::stream(begun));
                }
            }
        }
        Ok(Self::stream(Begun { parts: parts.into_iter(), trailers: None, rest }))
    }

    /// When a part of it was last taken.
    pub(super) fn watched(&mut self) -> Option<Arc<Activity>> {
        if self.is_end_stream() {
            return None;
        }
        let activity = Arc::new(Activity::new());
        self.activity = Some(Arc::clone(&activity));
        Some(activity)
    }
}

impl Default for RequestBody {
    fn default() -> Self {
        Self::empty()
    }
}

impl From<Bytes> for RequestBody {
    fn from(bytes: Bytes) -> Self {
        Self::whole(bytes)
    }
}

impl From<Vec<u8>> for RequestBody {
    fn from(bytes: Vec<u8>) -> Self {
        Self::whole(bytes)
    }
}

impl From<String> for RequestBody {
    fn from(text: String) -> Self {
        Self::whole(text)
    }
}

impl From<&'static str> for RequestBody {
    fn from(text: &'static str) -> Self {
        Self::whole(text)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let body = self.get_mut();
        let polled = match &mut body.content {
            Content::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            // In parts, so that progress is seen.
            Content::Whole(bytes) => {
                Poll::Ready(Some(Ok(Frame::data(bytes.split_to(bytes.len().min(PART))))))
            }
            Content::Stream(stream) => {
                Pin::new(stream.get_mut().unwrap_or_else(PoisonError::into_inner)).poll_frame(context)
            }
        };
        if let (Poll::Ready(_), Some(activity)) = (&polled, &body.activity) {
            activity.note();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.is_empty(),
            Content::Stream(stream) => stream.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Stream(stream) => stream.lock().unwrap_or_else(PoisonError::into_inner).size_hint(),
        }
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody").field("length", &self.size_hint().exact()).finish_non_exhaustive()
    }
}

/// A stream whose beginning was read already.
struct Begun {
    parts: std::vec::IntoIter<Bytes>,
    trailers: Option<Frame<Bytes>>,
    rest: Stream,
}

impl Body for Begun {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let body = self.get_mut();
        let read = body.parts.next().map(Frame::data).or_else(|| body.trailers.take());
        match read {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => Pin::new(&mut body.rest).poll_frame(context),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let read: u64 = self.parts.as_slice().iter().map(|part| part.len() as u64).sum();
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(read));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(read)) {
            hint.set_upper(upper);
        }
        hint
    }
}

fn joined(mut parts: Vec<Bytes>) -> Bytes {
    match (parts.len(), parts.pop()) {
        (1, Some(part)) => part,
        (_, last) => Bytes::from(parts.into_iter().chain(last).collect::<Vec<_>>().concat()),
    }
}

/// When something last happened.
#[derive(Debug)]
pub(super) struct Activity {
    began: Instant,
    /// Milliseconds after the beginning.
    last: AtomicU64,
}

impl Activity {
    fn new() -> Self {
        Self { began: Instant::now(), last: AtomicU64::new(0) }
    }

    fn note(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    pub(super) fn last(&self) -> Instant {
        self.began + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }
}

/// How much of a whole body goes out at once, in bytes.
const PART: usize = 256 * 1024;
