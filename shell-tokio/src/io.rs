//! A connection's stream, with deadlines: a client that sends no request, sends its head drop by drop, or does not read its
//! response, must not hold a connection for ever.

use std::{
    io::{self, ErrorKind, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use mews_core::{
    http::limits::{Limits, Pace},
    time::Instant,
};
use mews_host::clock::Clock;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    time::{self, Sleep},
};

use crate::host::instant;

/// Whether a connection waits for a request, and since when; shared by its stream and its requests.
#[derive(Clone)]
pub struct Idle(Arc<AtomicU64>);

impl Idle {
    const BUSY: u64 = u64::MAX;

    /// A connection that waits for its first request.
    pub fn since(now: Instant) -> Self {
        Self(Arc::new(AtomicU64::new(now.0)))
    }

    /// A request has come.
    pub fn end(&self) {
        self.0.store(Self::BUSY, Ordering::Relaxed);
    }

    /// It is answered.
    pub fn begin(&self, now: Instant) {
        self.0.store(now.0, Ordering::Relaxed);
    }

    fn get(&self) -> Option<Instant> {
        match self.0.load(Ordering::Relaxed) {
            Self::BUSY => None,
            since => Some(Instant(since)),
        }
    }
}

/// A TCP stream with deadlines on heads and on writes. The deadline of a request's body is kept by who reads that.
pub struct Paced {
    stream: TcpStream,
    clock: Clock,
    limits: Limits,
    idle: Idle,
    /// When the first bytes of the awaited head came, and which wait that was.
    head: Option<(Instant, Instant)>,
    write: Pace,
    /// One for both directions of reading and writing each; made when first needed, and moved only when it fires.
    read_timer: Timer,
    write_timer: Timer,
}

/// A deadline that may move without touching the runtime's timers.
#[derive(Default)]
struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Whether `until` has passed; if not, the task is woken by then.
    fn is_over(&mut self, cx: &mut Context<'_>, clock: Clock, until: Instant) -> bool {
        let at = instant(clock, until);
        let sleep = self.0.get_or_insert_with(|| Box::pin(time::sleep_until(at)));
        // An earlier deadline than the one it is set to must not be overslept; a later one costs a spurious wake-up.
        if sleep.deadline() > at {
            sleep.as_mut().reset(at);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if clock.mono() >= until {
                return true;
            }
            sleep.as_mut().reset(at);
        }
        false
    }
}

fn too_slow(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::TimedOut, what)
}

impl Paced {
    /// Wraps a stream. `idle` is to be kept up to date by whoever serves its requests.
    pub fn new(stream: TcpStream, clock: Clock, limits: &Limits, idle: Idle) -> Self {
        let write = Pace::of_write(limits);
        let (read_timer, write_timer) = (Timer::default(), Timer::default());
        Self { stream, clock, limits: *limits, idle, head: None, write, read_timer, write_timer }
    }

    /// Ends the sending side and reads what still comes, within bounds, so that the client can read our last answer before a
    /// reset destroys it.
    pub async fn linger(mut self) {
        let read = async {
            self.stream.shutdown().await?;
            let mut left = self.limits.linger_bytes;
            let mut buffer = [0; 4096];
            while left > 0 {
                match self.stream.read(&mut buffer).await? {
                    0 => break,
                    n => left = left.saturating_sub(n as u64),
                }
            }
            Ok::<(), io::Error>(())
        };
        match time::timeout(self.limits.linger, read).await {
            Ok(Ok(())) | Err(_) => {}
            Ok(Err(error)) => log::trace!("lingering close: {error}"),
        }
    }

    /// When the request that is awaited must have come.
    fn head_deadline(&self) -> Option<Instant> {
        let since = self.idle.get()?;
        Some(match self.head {
            Some((first, awaited)) if awaited == since => first.after(self.limits.head),
            _ => since.after(self.limits.idle),
        })
    }

    /// What became of a write: counts it, or fails when patience is over.
    fn written(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let now = self.clock.mono();
        match &written {
            Poll::Ready(Ok(n)) => self.write.progress(now, *n as u64),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                self.write.wait(now);
                let until = self.write.deadline().expect("waiting has begun");
                if self.write_timer.is_over(cx, self.clock, until) {
                    return Poll::Ready(Err(too_slow("the client reads too slowly")));
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
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            if let Some(since) = self.idle.get()
                && self.head.is_none_or(|(_, awaited)| awaited != since)
            {
                self.head = Some((self.clock.mono(), since));
            }
            return read;
        }
        let clock = self.clock;
        if let Some(until) = self.head_deadline()
            && self.read_timer.is_over(cx, clock, until)
        {
            return Poll::Ready(Err(too_slow("no request in time")));
        }
        Poll::Pending
    }
}

impl AsyncWrite for Paced {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(cx, written)
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
