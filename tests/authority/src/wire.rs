//! The TCP connection, with a plug that a fault can pull.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::Notify,
};

/// Ends a connection from within an answer.
#[derive(Debug, Default)]
pub(crate) struct Plug {
    pulled: Notify,
    reset: AtomicBool,
}

impl Plug {
    /// Closes the connection with a TCP reset.
    pub(crate) fn reset(&self) {
        self.reset.store(true, Ordering::Relaxed);
        self.close();
    }

    /// Closes the connection, without TLS' `close_notify`.
    pub(crate) fn close(&self) {
        self.pulled.notify_one();
    }

    pub(crate) async fn pulled(&self) {
        self.pulled.notified().await;
    }
}

/// The stream; dropped after [`Plug::reset`], it sends a reset instead of an end.
pub(crate) struct Wire {
    stream: TcpStream,
    plug: Arc<Plug>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream, plug: Arc<Plug>) -> Self {
        Self { stream, plug }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.plug.reset.load(Ordering::Relaxed) {
            // A connection that the client has closed already needs no reset.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
