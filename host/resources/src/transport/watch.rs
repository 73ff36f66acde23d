use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::task::{Context, Poll, ready};

use rustls::{AlertDescription, HandshakeType};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::error::tls_error;

/// Remembers why TLS ended a connection after its handshake. HTTP/2 errors pass on no more than a text, and it is what
/// tells a refused client certificate from a broken connection.
#[derive(Debug)]
pub(super) struct Watch(AtomicU16);

/// Why TLS ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// The peer said so by this alert.
    Alert(AlertDescription),
    /// The peer wanted another handshake, for the client's certificate.
    LateClientAuth,
}

impl Watch {
    pub(super) fn seen(&self) -> Option<Seen> {
        match self.0.load(Ordering::Acquire) {
            NONE => None,
            LATE_CLIENT_AUTH => Some(Seen::LateClientAuth),
            alert => u8::try_from(alert).ok().map(AlertDescription::from).map(Seen::Alert),
        }
    }

    fn see(&self, error: &io::Error) {
        use rustls::Error::{AlertReceived, InappropriateHandshakeMessage};
        let seen = match tls_error(error) {
            Some(InappropriateHandshakeMessage { got_type: HandshakeType::CertificateRequest, .. }) => {
                LATE_CLIENT_AUTH
            }
            Some(AlertReceived(alert)) => u16::from(u8::from(*alert)),
            _ => return,
        };
        self.0.store(seen, Ordering::Release);
    }
}

/// Beyond all alerts, which are bytes.
const NONE: u16 = u16::MAX;
const LATE_CLIENT_AUTH: u16 = 256;

/// A connection whose alerts are watched.
pub(super) struct Watched<S> {
    stream: S,
    watch: Arc<Watch>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S) -> (Self, Arc<Watch>) {
        let watch = Arc::new(Watch(AtomicU16::new(NONE)));
        (Self { stream, watch: Arc::clone(&watch) }, watch)
    }

    fn seen<T>(&self, outcome: io::Result<T>) -> Poll<io::Result<T>> {
        if let Err(error) = &outcome {
            self.watch.see(error);
        }
        Poll::Ready(outcome)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let outcome = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        self.seen(outcome)
    }
}

impl<S: LastWords> Watched<S> {
    /// As [`seen`](Self::seen), for what became of writing. Who refuses a connection sends an alert and closes it: while
    /// there is still something to be written, that shows before the alert is read.
    fn written<T>(&mut self, outcome: io::Result<T>) -> Poll<io::Result<T>> {
        if outcome.is_err()
            && let Some(error) = self.stream.last_words()
        {
            self.watch.see(&error);
        }
        self.seen(outcome)
    }
}

/// A connection that may have been ended for a reason that nobody has read yet.
pub(super) trait LastWords {
    /// Reads what is left, up to an error.
    fn last_words(&mut self) -> Option<io::Error>;
}

/// Without TLS nobody says why.
impl LastWords for TcpStream {
    fn last_words(&mut self) -> Option<io::Error> {
        None
    }
}

#[cfg(test)]
impl LastWords for tokio::io::DuplexStream {
    fn last_words(&mut self) -> Option<io::Error> {
        None
    }
}

impl LastWords for Box<TlsStream<TcpStream>> {
    /// The stream itself would write before it reads.
    fn last_words(&mut self) -> Option<io::Error> {
        let (tcp, tls) = self.get_mut();
        for _ in 0..MAX_READS {
            // The runtime may not have noticed yet that there is something to read.
            let socket = SockRef::from(&*tcp);
            if !matches!(tls.read_tls(&mut &*socket), Ok(1..)) {
                return None;
            }
            if let Err(error) = tls.process_new_packets() {
                return Some(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
        None
    }
}

/// How often what is left on a connection that ended is read: it may be an answer of any length.
const MAX_READS: usize = 64;

impl<S: AsyncWrite + LastWords + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = ready!(Pin::new(&mut self.stream).poll_write(cx, buf));
        self.written(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs));
        self.written(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        self.written(outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = ready!(Pin::new(&mut self.stream).poll_shutdown(cx));
        self.written(outcome)
    }
}
