//! Objects of many blocks, over connections that stall and break: what is acknowledged is whole and stays, what is not leaves
//! no trace, and memory is bounded by neither the objects nor the number of those who wait.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::{
    daemon::Daemon,
    signed::{self, presigned},
    wire::{Response, Wire},
};

/// A block is 1 MiB.
const MIB: usize = 1 << 20;

/// What a daemon may take for one large transfer after another.
const MEMORY_MAX: u64 = 64 << 20;

/// Runs them all against `binary`; panics where one fails.
pub fn run(binary: impl AsRef<Path>) {
    let mut daemon = Daemon::start(binary);
    large_objects_come_back_as_they_went(&daemon);
    ranges_across_blocks_are_exact(&daemon);
    chunked_bodies_of_many_blocks_are_joined(&daemon);
    let (_, most) = daemon.memory();
    assert!(most < MEMORY_MAX, "the daemon took {} MiB of memory", most >> 20);
    clients_that_break_off_leave_nothing(&daemon);
    clients_that_stall_keep_nobody_waiting(&daemon);
    acknowledged_objects_survive_a_kill(&mut daemon);
    let output = daemon.output();
    assert!(!output.contains("panicked"), "the daemon panicked:\n{output}");
}

/// Bytes that neither compress nor repeat, different for each `seed`.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        // xorshift64 (Marsaglia, 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| next()).collect();
    bytes.truncate(len);
    bytes
}

fn expect(response: &Response, status: u16) {
    let start = &response.body[..response.body.len().min(1000)];
    assert_eq!(response.status, status, "{}", String::from_utf8_lossy(start));
}

fn put(daemon: &Daemon, key: &str, body: &[u8]) {
    expect(&signed::put(daemon, key, body), 200);
}

fn expect_object(daemon: &Daemon, key: &str, body: &[u8]) {
    let response = signed::get(daemon, key);
    expect(&response, 200);
    assert!(response.body == body, "{key} came back different");
}

fn large_objects_come_back_as_they_went(daemon: &Daemon) {
    for (seed, len) in [(1, MIB - 1), (2, MIB), (3, MIB + 1), (4, 24 * MIB + 17)] {
        let (key, body) = (format!("large-{len}"), noise(seed, len));
        put(daemon, &key, &body);
        expect_object(daemon, &key, &body);
    }
    // Compressible, so that it is stored in another form.
    let body = b"all work and no play ".repeat(200_000);
    put(daemon, "compressible", &body);
    expect_object(daemon, "compressible", &body);
}

fn ranges_across_blocks_are_exact(daemon: &Daemon) {
    let body = noise(4, 24 * MIB + 17);
    let key = format!("large-{}", body.len());
    for (start, end) in
        [(0, 0), (MIB - 1, MIB), (5 * MIB - 3, 9 * MIB + 3), (24 * MIB, 24 * MIB + 16)]
    {
        let head = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nRange: bytes={start}-{end}\r\n\r\n",
            presigned(daemon, "GET", &key, &[]),
            daemon.s3()
        );
        let mut wire = Wire::connect(daemon.s3());
        wire.send(head.as_bytes());
        let response = wire.response(false, Duration::from_secs(20)).expect("a response");
        expect(&response, 206);
        assert!(response.body == body[start..=end], "{start}-{end} came back different");
    }
}

fn chunked_bodies_of_many_blocks_are_joined(daemon: &Daemon) {
    let body = noise(5, 3 * MIB + 5);
    let length = body.len().to_string();
    let target =
        presigned(daemon, "PUT", "chunked-large", &[("x-amz-decoded-content-length", &length)]);
    let mut sent = format!(
        "PUT {target} HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\nX-Amz-Decoded-Content-Length: {length}\r\n\r\n",
        daemon.s3()
    )
    .into_bytes();
    for (at, chunk) in body.chunks(50_000).enumerate() {
        // Chunks of every size, to end at every place in a buffer.
        let (first, second) = chunk.split_at(at * 997 % chunk.len());
        for part in [first, second].iter().filter(|part| !part.is_empty()) {
            sent.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
            sent.extend_from_slice(part);
            sent.extend_from_slice(b"\r\n");
        }
    }
    sent.extend_from_slice(b"0\r\n\r\n");
    let mut wire = Wire::connect(daemon.s3());
    wire.send(&sent);
    expect(&wire.response(false, Duration::from_secs(20)).expect("a response"), 200);
    expect_object(daemon, "chunked-large", &body);
}

fn begin_put(daemon: &Daemon, key: &str, len: usize, body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(daemon.s3()).expect("the daemon listens");
    let target = presigned(daemon, "PUT", key, &[]);
    let host = daemon.s3();
    let head = format!("PUT {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len}\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("the daemon reads");
    stream.write_all(body).expect("the daemon reads");
    stream
}

fn begin_get(daemon: &Daemon, key: &str) -> TcpStream {
    let mut stream = TcpStream::connect(daemon.s3()).expect("the daemon listens");
    let target = presigned(daemon, "GET", key, &[]);
    let head = format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", daemon.s3());
    stream.write_all(head.as_bytes()).expect("the daemon reads");
    // The answer has begun.
    stream.read_exact(&mut [0; 100]).expect("the daemon answers");
    stream
}

fn clients_that_break_off_leave_nothing(daemon: &Daemon) {
    put(daemon, "kept", b"before");
    let part = noise(6, 3 * MIB);
    for how in [Shutdown::Write, Shutdown::Both] {
        let stream = begin_put(daemon, "kept", 5 * MIB, &part);
        stream.shutdown(how).expect("it is connected");
    }
    for _ in 0..4 {
        drop(begin_get(daemon, &format!("large-{}", 24 * MIB + 17)));
    }
    expect_object(daemon, "kept", b"before");
}

fn clients_that_stall_keep_nobody_waiting(daemon: &Daemon) {
    let (_, before) = daemon.memory();
    let part = noise(7, MIB / 2);
    let writers: Vec<TcpStream> =
        (0..6).map(|n| begin_put(daemon, &format!("stalled-{n}"), 5 * MIB, &part)).collect();
    let key = format!("large-{}", 24 * MIB + 17);
    let readers: Vec<TcpStream> = (0..6).map(|_| begin_get(daemon, &key)).collect();
    // Long enough for the daemon to fill whatever it would fill.
    thread::sleep(Duration::from_millis(500));
    let began = Instant::now();
    put(daemon, "beside", b"hello");
    expect_object(daemon, "beside", b"hello");
    assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
    let (_, most) = daemon.memory();
    // A stalled writer holds the block that it has begun, a reader two or three; beside them some buffers.
    let allowed = 6 * (MIB + 4 * MIB) as u64 + (8 << 20);
    assert!(most < before.max(MEMORY_MAX / 2) + allowed, "{} MiB of memory", most >> 20);
    drop((writers, readers));
}

fn acknowledged_objects_survive_a_kill(daemon: &mut Daemon) {
    let objects: Vec<(String, Vec<u8>)> = (0..20)
        .map(|n| (format!("survives-{n}"), noise(100 + n, if n % 2 == 0 { 100 } else { 2 * MIB })))
        .collect();
    for (key, body) in &objects {
        put(daemon, key, body);
    }
    let unfinished = begin_put(daemon, "unfinished", 5 * MIB, &noise(8, 3 * MIB));
    daemon.kill_and_restart();
    drop(unfinished);
    for (key, body) in &objects {
        expect_object(daemon, key, body);
    }
    expect(&signed::get(daemon, "unfinished"), 404);
}
