//! What the wire costs: `cargo run --release -p mews-core --example wire`.
//!
//! Streams messages of 1 MiB from one connection to another in memory, on one thread, for both ciphers; then counts what an idle
//! connection holds, by its own account and by the kernel's.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "an example is a shell")]

use std::{
    fs,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use mews_core::{
    seed::Seed,
    time::Now,
    wire::{Connection, Event, Identity, Message, Priority, WireError},
};

const BLOCK: usize = 1 << 20;
const ROUNDS: usize = 1024;
/// As many as the window of their class holds.
const AT_ONCE: usize = 8;

fn identity(name: u8, aes: bool) -> Identity {
    Identity::new([name; 32], [42; 32], aes)
}

struct Pair {
    dialer: Connection,
    acceptor: Connection,
    there: BytesMut,
    back: BytesMut,
}

impl Pair {
    fn new(aes: bool) -> Result<Self, WireError> {
        let (one, other, now) = (identity(1, aes), identity(2, aes), Now::default());
        let mut pair = Self {
            dialer: Connection::dial(&one, Some(other.id), Seed::new([3; 32]), now),
            acceptor: Connection::accept(&other, Seed::new([4; 32]), now),
            there: BytesMut::new(),
            back: BytesMut::new(),
        };
        while pair.step()? {}
        Ok(pair)
    }

    fn step(&mut self) -> Result<bool, WireError> {
        let now = Now::default();
        let moved = self.dialer.poll_output(now, &mut self.there)
            | self.acceptor.poll_output(now, &mut self.back);
        self.acceptor.handle_input(now, &mut self.there)?;
        self.dialer.handle_input(now, &mut self.back)?;
        Ok(moved)
    }
}

/// Time on a processor of this thread, from the kernel's scheduler; zero where it does not say.
fn on_cpu() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}

fn stream(aes: bool) -> Result<(), WireError> {
    let now = Now::default();
    let mut pair = Pair::new(aes)?;
    let cipher = pair.dialer.agreed().map(|(_, cipher)| cipher);
    assert!(cipher.is_some(), "the handshake is over");
    let block = Bytes::from(vec![7; BLOCK]);
    let (begun, cpu) = (Instant::now(), on_cpu());
    let (mut asked, mut done) = (0, 0);
    while done < ROUNDS {
        while asked < ROUNDS && asked - done < AT_ONCE {
            let message = Message { head: Bytes::from_static(b"store"), payload: block.clone() };
            let patience = Duration::from_secs(60);
            match pair.dialer.request(now, Priority::Bulk, message, patience) {
                Ok(_) => asked += 1,
                Err(error) => {
                    eprintln!("not taken: {error}");
                    break;
                }
            }
        }
        pair.step()?;
        while let Some(event) = pair.acceptor.poll_event() {
            if let Event::Request { stream, message, .. } = event {
                assert_eq!(message.payload.len(), BLOCK);
                pair.acceptor.respond(now, stream, Message::default());
            }
        }
        while let Some(event) = pair.dialer.poll_event() {
            done += usize::from(matches!(event, Event::Response { result: Ok(_), .. }));
        }
    }
    let (wall, cpu) = (begun.elapsed(), on_cpu().saturating_sub(cpu));
    let bytes = (ROUNDS * BLOCK) as f64;
    println!(
        "{}: {:.0} MB/s of messages, sealed and opened on one thread; {:.0} us of CPU per MiB, both ends",
        if aes { "AES-256-GCM" } else { "ChaCha20-Poly1305" },
        bytes / 1e6 / wall.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / ROUNDS as f64
    );
    Ok(())
}

fn idle() -> Result<(), WireError> {
    const PAIRS: usize = 2000;
    let before = resident();
    let pairs = (0..PAIRS).map(|_| Pair::new(true)).collect::<Result<Vec<_>, _>>()?;
    let each = resident().saturating_sub(before) / (2 * PAIRS);
    let own = pairs.first().map_or(0, |pair| pair.dialer.footprint());
    println!(
        "idle connection: {own} bytes of its own; {each} in memory with a drained buffer each way"
    );
    Ok(())
}

fn main() -> Result<(), WireError> {
    stream(true)?;
    stream(false)?;
    idle()
}
