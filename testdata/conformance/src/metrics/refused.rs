//! Connections that were not served are counted, by the reason.

use std::{
    thread,
    time::{Duration, Instant},
};

use mews_core::node::ADMIN_CONNECTIONS;

use super::{PATIENCE, told};
use crate::{
    daemon::Daemon,
    signed,
    wire::{Response, Wire},
};

pub(super) fn run(daemon: &Daemon) {
    who_speaks_another_language_is_counted(daemon);
    one_too_many_is_told_so_and_counted(daemon);
}

fn counted(daemon: &Daemon, api: &str, reason: &str) -> f64 {
    let labels = format!("{{api=\"{api}\",reason=\"{reason}\"}}");
    told(daemon, &format!("mews_connections_refused_total{labels}"))
}

fn who_speaks_another_language_is_counted(daemon: &Daemon) {
    assert_eq!(counted(daemon, "rpc", "handshake"), 0.0);
    let mut wire = Wire::connect(daemon.rpc());
    wire.send("GET / HTTP/1.1\r\nHost: node\r\n\r\n".repeat(10).as_bytes());
    let began = Instant::now();
    while counted(daemon, "rpc", "handshake") != 1.0 {
        assert!(began.elapsed() < PATIENCE, "not counted");
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(counted(daemon, "rpc", "limit"), 0.0);
}

/// One more connection to the Admin API that stays open, and what is answered by it.
fn opened(daemon: &Daemon) -> (Wire, Response) {
    let mut wire = Wire::connect(daemon.admin());
    wire.send(b"GET /health HTTP/1.1\r\nHost: admin\r\n\r\n");
    let response = wire.response(false, PATIENCE).expect("an answer");
    (wire, response)
}

/// One that is served, once those of before have closed.
fn served(daemon: &Daemon) -> Wire {
    let began = Instant::now();
    loop {
        let (wire, response) = opened(daemon);
        if response.status == 200 {
            return wire;
        }
        assert!(began.elapsed() < PATIENCE, "{response:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn one_too_many_is_told_so_and_counted(daemon: &Daemon) {
    let all: Vec<Wire> = (0..ADMIN_CONNECTIONS).map(|_| served(daemon)).collect();
    for _ in 0..2 {
        let (_, response) = opened(daemon);
        assert_eq!(response.status, 503);
        let text = String::from_utf8_lossy(&response.body).into_owned();
        assert!(text.contains("Too many connections"), "{text}");
    }
    assert_eq!(signed::put(daemon, "meanwhile", b"S3 has its own").status, 200);
    drop(all);
    drop(served(daemon));
    assert!(counted(daemon, "admin", "limit") >= 2.0);
    assert_eq!(counted(daemon, "s3", "limit"), 0.0);
}
