//! Statistics of connections.

use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::work_budget::{self, WorkBudget};

/// Statistics of connections: the number of open ones, and the bytes transferred, without the overhead of TLS.
#[derive(Debug, Default)]
pub struct ConnectionStats {
    open: AtomicUsize,
    sent: AtomicU64,
    received: AtomicU64,
    waiting: AtomicUsize,
}

impl ConnectionStats {
    /// Returns the number of calls that wait for admission.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Counts a call that begins to wait for admission.
    pub(super) fn wait_begins(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a call that no longer waits for admission.
    pub(super) fn wait_ends(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// Returns the number of open connections.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Returns the number of bytes sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Returns the number of bytes received.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

/// A byte stream counted by [`ConnectionStats`]; it counts as open until it is dropped.
pub(super) struct Counted<Io> {
    io: Io,
    connection_stats: Arc<ConnectionStats>,
    budget: WorkBudget,
}

impl<Io> Counted<Io> {
    /// Wraps a stream and counts it as open.
    pub fn new(io: Io, connection_stats: Arc<ConnectionStats>) -> Self {
        connection_stats.open.fetch_add(1, Ordering::Relaxed);
        Self { io, connection_stats, budget: WorkBudget::default() }
    }

    /// Returns the statistics that count this stream.
    pub fn connection_stats(&self) -> &Arc<ConnectionStats> {
        &self.connection_stats
    }

    /// Resets the work budget, so that the next read polls the socket.
    pub fn begin_budget(&mut self) {
        self.budget = WorkBudget::default();
    }

    fn sent(&self, written: usize) -> Poll<Result<usize>> {
        self.connection_stats.sent.fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }
}

impl<Io> Drop for Counted<Io> {
    fn drop(&mut self) {
        self.connection_stats.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Counted<Io> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        if self.budget.is_over() {
            return work_budget::poll_yield(context);
        }
        let before = buffer.filled().len();
        match Pin::new(&mut self.io).poll_read(context, buffer) {
            Poll::Ready(read) => read?,
            Poll::Pending => {
                self.begin_budget();
                return Poll::Pending;
            }
        }
        let read = buffer.filled().len() - before;
        self.budget.add(read);
        self.connection_stats.received.fetch_add(read as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Counted<Io> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(context, bytes))?;
        self.sent(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(context, pieces))?;
        self.sent(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
