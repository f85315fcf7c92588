//! A socket whose client must keep reading: a write that has to wait for the client makes progress or fails.
//!
//! Beneath TLS, so that handshakes and farewells are bounded too. Time counts only while a write waits.

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

/// See the module.
pub(super) struct Paced<S> {
    inner: S,
    pace: Pace,
    /// While a write waits, or waited since the last flush.
    stall: Option<Stall>,
    /// What is done with a socket whose client does not read.
    give_up: fn(&S),
}

/// How much must be written in which time.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    pub(super) window: Duration,
    pub(super) bytes_min: u64,
}

struct Stall {
    written: u64,
    until: Pin<Box<Sleep>>,
}

impl<S> Paced<S> {
    pub(super) fn new(inner: S, pace: Pace, give_up: fn(&S)) -> Self {
        Self { inner, pace, stall: None, give_up }
    }

    /// After a write that wrote, or one that waits.
    fn judge(&mut self, cx: &mut Context<'_>, done: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
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
                (self.give_up)(&self.inner);
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }

    /// Ready when a whole window went by with too little in it.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Pace { window, bytes_min } = self.pace;
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

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.judge(cx, done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.judge(cx, done)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
        // Nothing waits: the next reply has a time of its own.
        self.stall = None;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
