//! A socket whose client must keep reading: a write that waits for the client makes progress or fails.
//!
//! It sits below TLS, so that handshakes and closing messages are bounded too. Time counts only while a write waits.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

/// A stream with a minimum write rate; see the module.
pub(super) struct PacedStream<S> {
    inner: S,
    pace: WritePace,
    /// Present while a write waits, or if one has waited since the last flush.
    stall: Option<Stall>,
    /// Called with the socket of a client that does not read.
    on_timeout: fn(&S),
}

/// Minimum number of bytes to be written in each window.
#[derive(Clone, Copy)]
pub(super) struct WritePace {
    pub(super) window: Duration,
    pub(super) bytes_min: u64,
}

struct Stall {
    written: u64,
    until: Pin<Box<Sleep>>,
}

impl<S> PacedStream<S> {
    pub(super) fn new(inner: S, pace: WritePace, on_timeout: fn(&S)) -> Self {
        Self { inner, pace, stall: None, on_timeout }
    }

    /// Checks the progress after a write that succeeded or that waits.
    fn check_progress(&mut self, cx: &mut Context<'_>, done: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match done {
            Poll::Ready(Ok(n)) => {
                if let Some(stall) = &mut self.stall {
                    stall.written += n as u64;
                }
                Poll::Ready(Ok(n))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                ready!(self.wait(cx));
                (self.on_timeout)(&self.inner);
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }

    /// Ready when too little was written in a whole window.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let WritePace { window, bytes_min } = self.pace;
        let fresh = || Stall { written: 0, until: Box::pin(tokio::time::sleep(window)) };
        let stall = self.stall.get_or_insert_with(fresh);
        while stall.until.as_mut().poll(cx).is_ready() {
            if stall.written < bytes_min {
                return Poll::Ready(());
            }
            stall.written = 0;
            stall.until.as_mut().reset(Instant::now() + window);
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PacedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PacedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.check_progress(cx, done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.check_progress(cx, done)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
        // No write waits any more: the next reply gets a window of its own.
        self.stall = None;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
