//! The client against answers of every shape.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    thread::JoinHandle,
    time::Duration,
};

use super::{client::Client, *};

/// A server that gives each connection one list of answers, byte for byte, a request each, and then closes it.
fn server(connections: Vec<Vec<&'static str>>) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let mut requests = Vec::new();
        for answers in connections {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            for answer in answers {
                let mut request = Vec::new();
                let mut byte = [0];
                while !request.ends_with(b"\r\n\r\n") {
                    stream.read_exact(&mut byte).unwrap();
                    request.push(byte[0]);
                }
                requests.push(String::from_utf8(request).unwrap());
                // In pieces, so that no answer comes at once.
                for piece in answer.as_bytes().chunks(7) {
                    // A client that has seen enough of a broken answer hangs up.
                    if stream.write_all(piece).and_then(|()| stream.flush()).is_err() {
                        break;
                    }
                }
            }
        }
        requests
    });
    (addr, thread)
}

fn get(client: &mut Client) -> std::io::Result<client::Response> {
    smol::block_on(client.request(b"GET / HTTP/1.1\r\n\r\n", b"", false, true))
}

#[test]
fn answers_of_every_framing_are_read_on_one_connection() {
    let (addr, thread) = server(vec![vec![
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\nA: b\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\nConnection: close\r\n\r\nxyz",
    ]]);
    let mut client = Client::new(addr);
    let mut body = || {
        let answer = get(&mut client).unwrap();
        (answer.status, answer.len, String::from_utf8(answer.body).unwrap())
    };
    assert_eq!(body(), (200, 5, "hello".to_owned()));
    assert_eq!(body(), (200, 6, "hello!".to_owned()));
    assert_eq!(body(), (200, 0, String::new()));
    assert_eq!(body(), (204, 0, String::new()));
    assert_eq!(body(), (404, 3, "xyz".to_owned()));
    assert_eq!(thread.join().unwrap().len(), 5);
}

#[test]
fn a_closed_connection_is_made_anew() {
    let close = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na";
    let (addr, thread) = server(vec![vec![close], vec![close]]);
    let mut client = Client::new(addr);
    get(&mut client).unwrap();
    get(&mut client).unwrap();
    assert_eq!(thread.join().unwrap().len(), 2);
}

#[test]
fn answers_that_end_early_or_make_no_sense_are_errors() {
    for answer in [
        "",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
        "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n\r\n",
    ] {
        let (addr, thread) = server(vec![vec![answer]]);
        assert!(get(&mut Client::new(addr)).is_err(), "{answer:?}");
        thread.join().unwrap();
    }
}

#[test]
fn a_head_has_no_body_whatever_it_declares() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n";
    let (addr, thread) = server(vec![vec![head, head]]);
    let mut client = Client::new(addr);
    for _ in 0..2 {
        let answer = client.request(b"HEAD / HTTP/1.1\r\n\r\n", b"", true, false);
        assert_eq!(smol::block_on(answer).unwrap().len, 0);
    }
    thread.join().unwrap();
}

#[test]
fn times_are_read_or_refused() {
    assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
    assert_eq!(
        (duration("10"), duration("2m")),
        (Ok(Duration::from_secs(10)), Ok(Duration::from_secs(120)))
    );
    assert!(duration("0").is_err() && duration("1h").is_err() && duration("-1s").is_err());
}

#[test]
fn payloads_differ_in_every_block() {
    let mut fill = work::Fill::new((128 << 10) + 3, 1).unwrap();
    let first = fill.marked(1).to_vec();
    let second = fill.marked(2);
    assert_ne!(first[..64 << 10], second[..64 << 10]);
    assert_ne!(first[64 << 10..128 << 10], second[64 << 10..128 << 10]);
    assert_ne!(first[128 << 10..], second[128 << 10..]);
    assert_ne!(
        work::Fill::new(100, 1).unwrap().marked(1),
        work::Fill::new(100, 2).unwrap().marked(1)
    );
}
