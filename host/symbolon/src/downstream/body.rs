//! What a call sends, and whether it can be sent again.

use bytes::Bytes;
use symbolon_resources::transport::RequestBody;

/// The body of a call.
pub(super) enum Content {
    /// It is kept, and can be sent again.
    Kept(Bytes),
    /// It goes out once; nothing after that.
    Once(Option<RequestBody>),
}

impl Content {
    /// Reads as much of a stream as may be kept.
    pub(super) async fn read(
        body: RequestBody,
        limit: usize,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let body = body.buffered(limit).await?;
        Ok(match body.bytes() {
            Some(bytes) if bytes.len() <= limit => Self::Kept(bytes.clone()),
            _ => Self::Once(Some(body)),
        })
    }

    /// What is sent now, if there is anything left to send.
    pub(super) fn take(&mut self) -> Option<RequestBody> {
        match self {
            Self::Kept(bytes) => Some(RequestBody::whole(bytes.clone())),
            Self::Once(body) => body.take(),
        }
    }

    /// Whether [`take`](Self::take) gives it.
    pub(super) fn is_left(&self) -> bool {
        matches!(self, Self::Kept(_) | Self::Once(Some(_)))
    }
}
