//! One connection: the socket, and the core's guard that says what its bytes mean.

use std::{
    future::{Future, poll_fn},
    io,
    net::{Shutdown, TcpStream},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use mews_core::{
    http::{
        guard::{BodyNeed, Guard, Need},
        limits::Limits,
    },
    time::Instant,
};
use smol::{
    Async, Timer,
    io::{AsyncBufRead, AsyncRead, AsyncWrite},
};

use mews_host::clock::Clock;

/// What one read brings at most, when it is not body alone.
const READ: usize = 4 << 10;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A connection. Its two directions may be used side by side, by one task.
pub struct Link {
    socket: Async<TcpStream>,
    clock: Clock,
    state: Mutex<State>,
}

struct State {
    guard: Guard,
    /// One timer for all deadlines: making one costs more than most requests, so it is moved, and only when it is too late or
    /// has fired.
    timer: Timer,
    /// When it fires, if it is set.
    armed: Option<Instant>,
}

impl Link {
    /// A connection just accepted.
    pub fn new(socket: Async<TcpStream>, peer: String, clock: Clock, limits: Limits) -> Self {
        let guard = Guard::new(limits, clock.mono(), peer);
        let state = Mutex::new(State { guard, timer: Timer::never(), armed: None });
        Self { socket, clock, state }
    }

    /// What the guard needs next; reading is done here.
    pub async fn next(&self) -> Need {
        poll_fn(|cx| {
            loop {
                let need = self.guard(|guard, now| guard.next(now));
                if need != Need::Read {
                    return Poll::Ready(need);
                }
                ready!(self.poll_receive(cx));
            }
        })
        .await
    }

    /// Calls the guard.
    pub fn guard<T>(&self, call: impl FnOnce(&mut Guard, Instant) -> T) -> T {
        call(&mut self.lock().guard, self.clock.mono())
    }

    /// Writes all of it, at the pace that the guard demands.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        poll_fn(|cx| {
            while !bytes.is_empty() {
                match Pin::new(&mut &self.socket).poll_write(cx, bytes) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(count)) => {
                        self.guard(|guard, now| guard.wrote(now, count as u64));
                        bytes = &bytes[count..];
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {
                        self.guard(|guard, now| guard.wait_to_write(now));
                        ready!(self.poll_deadline(cx));
                        if self.guard(|guard, _| guard.is_write_stalled()) {
                            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                        }
                    }
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Ends our side, so that the client sees the end of what we have written.
    pub fn shut_down(&self) {
        // A client that is gone already has no use for it.
        drop(self.socket.get_ref().shutdown(Shutdown::Write));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what there is for the guard; ready as well when a deadline has passed.
    fn poll_receive(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut buffer = [0; READ];
        let room = self.lock().guard.room().min(READ);
        match Pin::new(&mut &self.socket).poll_read(cx, &mut buffer[..room]) {
            Poll::Ready(Ok(count @ 1..)) => {
                self.guard(|guard, now| guard.receive(now, &buffer[..count]));
            }
            // A broken connection brings as little as one that has ended.
            Poll::Ready(Ok(0) | Err(_)) => self.guard(|guard, _| guard.receive_end()),
            Poll::Pending => return self.poll_deadline(cx),
        }
        Poll::Ready(())
    }

    /// Ready when a deadline has passed, once the guard knows of it.
    fn poll_deadline(&self, cx: &mut Context<'_>) -> Poll<()> {
        let State { guard, timer, armed } = &mut *self.lock();
        loop {
            let Some((at, _reason)) = guard.poll_timeout() else { return Poll::Pending };
            let now = self.clock.mono();
            if at <= now {
                guard.handle_timeout(now);
                // It may be the other direction that has to know, and the same task polls it.
                cx.waker().wake_by_ref();
                return Poll::Ready(());
            }
            if armed.is_none_or(|armed| armed > at) {
                timer.set_at(self.clock.std(at));
                *armed = Some(at);
            }
            ready!(Pin::new(&mut *timer).poll(cx));
            *armed = None;
        }
    }
}

/// A request's body, as http-types wants it. It reads straight from the socket into the reader's buffer.
pub struct Incoming {
    link: Arc<Link>,
    /// Given by the guard, and not yet by us.
    held: Bytes,
    /// What is left to write of the invitation to send the body.
    invitation: &'static [u8],
}

impl Incoming {
    /// The body of the request that the guard has just announced.
    pub fn new(link: Arc<Link>) -> Self {
        Self { link, held: Bytes::new(), invitation: &[] }
    }

    fn poll_invite(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.invitation.is_empty() {
            let written = Pin::new(&mut &self.link.socket).poll_write(cx, self.invitation);
            let count = ready!(written)?;
            self.invitation = &self.invitation[count..];
        }
        Poll::Ready(Ok(()))
    }

    /// Reads up to the length of `out` from the socket, all of it body.
    fn poll_direct(&self, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<usize> {
        match Pin::new(&mut &self.link.socket).poll_read(cx, out) {
            Poll::Ready(Ok(count @ 1..)) => {
                self.link.guard(|guard, now| guard.took(now, count as u64));
                Poll::Ready(count)
            }
            Poll::Ready(Ok(0) | Err(_)) => {
                self.link.guard(|guard, _| guard.receive_end());
                Poll::Ready(0)
            }
            Poll::Pending => self.link.poll_deadline(cx).map(|()| 0),
        }
    }
}

impl AsyncRead for Incoming {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if out.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            if !self.held.is_empty() {
                let count = self.held.len().min(out.len());
                out[..count].copy_from_slice(&self.held.split_to(count));
                return Poll::Ready(Ok(count));
            }
            ready!(self.poll_invite(cx))?;
            let need = self.link.guard(|guard, now| guard.body(now, out.len()));
            match need.map_err(io::Error::other)? {
                BodyNeed::Continue => self.invitation = CONTINUE,
                BodyNeed::Read => ready!(self.link.poll_receive(cx)),
                BodyNeed::Direct(max) => {
                    let max = usize::try_from(max).unwrap_or(usize::MAX).min(out.len());
                    let count = ready!(self.poll_direct(cx, &mut out[..max]));
                    if count > 0 {
                        return Poll::Ready(Ok(count));
                    }
                }
                BodyNeed::Data(data) => self.held = data,
                BodyNeed::End => return Poll::Ready(Ok(0)),
            }
        }
    }
}

impl AsyncBufRead for Incoming {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        if this.held.is_empty() {
            let mut buffer = [0; READ];
            let count = ready!(Pin::new(&mut *this).poll_read(cx, &mut buffer))?;
            this.held = Bytes::copy_from_slice(&buffer[..count]);
        }
        Poll::Ready(Ok(&this.held))
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        let _ = self.held.split_to(amount);
    }
}
