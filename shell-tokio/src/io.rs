//! A connection's stream, with a deadline on writing: a client that does not read must not hold a response for ever.

use std::{
    io::{self, ErrorKind, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use mews_core::http::limits::{Limits, Pace};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    time::{self, Sleep},
};

use crate::host::Clock;

/// A TCP stream whose writes must keep a pace.
pub struct Paced {
    stream: TcpStream,
    clock: Clock,
    pace: Pace,
    /// Made when a write first has to wait, and moved only when it fires.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Paced {
    /// Wraps a stream.
    pub fn new(stream: TcpStream, clock: Clock, limits: &Limits) -> Self {
        Self { stream, clock, pace: Pace::of_write(limits), timer: None }
    }

    /// Ends the sending side and reads what still comes, within bounds, so that the client can read our last answer before a
    /// reset destroys it.
    pub async fn linger(mut self, limits: &Limits) {
        let read = async {
            self.stream.shutdown().await?;
            let mut left = limits.linger_bytes;
            let mut buffer = [0; 4096];
            while left > 0 {
                match self.stream.read(&mut buffer).await? {
                    0 => break,
                    n => left = left.saturating_sub(n as u64),
                }
            }
            Ok::<(), io::Error>(())
        };
        match time::timeout(limits.linger, read).await {
            Ok(Ok(())) | Err(_) => {}
            Ok(Err(error)) => log::trace!("lingering close: {error}"),
        }
    }

    /// What became of a write: counts it, or fails when patience is over.
    fn paced(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let now = self.clock.mono();
        match written {
            Poll::Ready(Ok(n)) => self.pace.progress(now, n as u64),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                self.pace.wait(now);
                let until = self.pace.deadline().expect("waiting has just begun");
                let until = self.clock.std(until);
                let timer = self.timer.get_or_insert_with(|| Box::pin(time::sleep_until(until)));
                while timer.as_mut().poll(cx).is_ready() {
                    if self.pace.is_over(self.clock.mono()) {
                        let gone = "the client reads too slowly";
                        return Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, gone)));
                    }
                    timer.as_mut().reset(until);
                }
            }
        }
        written
    }
}

impl AsyncRead for Paced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Paced {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.paced(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.paced(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
