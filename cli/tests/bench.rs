//! `mews bench` as a program, against a small S3 server that checks every signature.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Output},
    sync::{Arc, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::{Bytes, BytesMut};
use mews_core::{
    http::RequestHead,
    s3::{
        auth,
        request::{self, Operation, Request},
    },
    time::Timestamp,
    view::Config,
};

const KEY: &str = "GKtest";
const SECRET: &str = "not a secret";

/// What the server keeps, and how it misbehaves.
#[derive(Default)]
struct Store {
    objects: BTreeMap<String, Vec<u8>>,
    /// The most there were at once.
    most: usize,
    bucket: bool,
    operations: BTreeMap<&'static str, u64>,
    /// Every so many GETs one is refused; never if zero.
    refuse_every: u64,
}

/// Serves until the process ends.
fn serve(store: Arc<Mutex<Store>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, store) = (stream.unwrap(), store.clone());
            std::thread::spawn(move || connection(stream, &store));
        }
    });
    addr
}

fn connection(stream: TcpStream, store: &Mutex<Store>) {
    stream.set_nodelay(true).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    while let Some(head) = read_head(&mut reader) {
        let len = usize::try_from(head.body_len.unwrap()).unwrap();
        let mut body = vec![0; len];
        reader.read_exact(&mut body).unwrap();
        let is_head = head.method == "HEAD";
        let (status, answer) = answer(head, &body, store);
        let len = answer.len();
        write!(writer, "HTTP/1.1 {status} X\r\ncontent-length: {len}\r\n\r\n").unwrap();
        if !is_head {
            writer.write_all(&answer).unwrap();
        }
    }
}

fn read_head(reader: &mut impl BufRead) -> Option<RequestHead> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.as_bytes().to_vec());
    let mut head =
        RequestHead { method, target, headers: vec![], body_len: Some(0), peer: String::new() };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { return Some(head) };
        if name == "content-length" {
            head.body_len = value.trim().parse().ok();
        }
        head.headers.push((name.to_owned(), Bytes::from(value.trim().to_owned())));
    }
}

fn answer(head: RequestHead, body: &[u8], store: &Mutex<Store>) -> (u16, Vec<u8>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let request = request::parse(head, &Config::default()).unwrap();
    let claim =
        auth::claim(&request, Timestamp(now.try_into().unwrap()), &Config::default()).unwrap();
    assert_eq!(claim.key_id(), KEY);
    let verified = claim.verify(SECRET, &request);
    let verified = match verified {
        Ok(verified) => verified,
        Err(error) => return (403, error.to_xml("/", "1", "2").to_vec()),
    };
    let mut intake = verified.intake(&request).unwrap();
    intake.push(body, &mut BytesMut::new()).unwrap();
    intake.finish(&[]).unwrap();
    operate(&request, body, &mut store.lock().unwrap())
}

fn operate(request: &Request, body: &[u8], store: &mut Store) -> (u16, Vec<u8>) {
    *store.operations.entry(request.op.name()).or_default() += 1;
    let key = || String::from_utf8(request.key.clone().unwrap()).unwrap();
    let code = |code: &str| {
        format!("<Error><Code>{code}</Code><Message>so</Message></Error>").into_bytes()
    };
    match request.op.name() {
        "CreateBucket" if store.bucket => (409, code("BucketAlreadyOwnedByYou")),
        "CreateBucket" => {
            store.bucket = true;
            (200, vec![])
        }
        "DeleteBucket" => {
            assert!(store.objects.is_empty(), "everything was cleaned up");
            store.bucket = false;
            (204, vec![])
        }
        "PutObject" => {
            store.objects.insert(key(), body.to_vec());
            store.most = store.most.max(store.objects.len());
            (200, vec![])
        }
        "GetObject" | "HeadObject" => {
            let count = store.operations["GetObject"];
            if store.refuse_every > 0 && count.is_multiple_of(store.refuse_every) {
                return (503, code("SlowDown"));
            }
            store.objects.get(&key()).map_or((404, code("NoSuchKey")), |body| (200, body.clone()))
        }
        "DeleteObject" => match store.objects.remove(&key()) {
            Some(_) => (204, vec![]),
            None => (500, code("DeletedTwice")),
        },
        "DeleteObjects" => {
            let text = String::from_utf8(body.to_vec()).unwrap();
            for key in text.split("<Key>").skip(1) {
                store.objects.remove(key.split_once("</Key>").unwrap().0);
            }
            (200, b"<DeleteResult/>".to_vec())
        }
        "ListObjectsV2" => {
            let prefix = request.query.get("prefix").unwrap();
            let found = store.objects.keys().filter(|key| key.starts_with(prefix)).count();
            assert!(found > 0, "there is something to list");
            (200, vec![b'x'; found * 100])
        }
        name => panic!("nobody asked for {name}, {:?}", Operation::ListBuckets),
    }
}

fn mews(args: &[&str], endpoint: Option<SocketAddr>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mews"));
    command.args(args).env_clear().current_dir(env!("CARGO_TARGET_TMPDIR"));
    if let Some(addr) = endpoint {
        command.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", SECRET);
        command.arg("--endpoint").arg(format!("http://{addr}"));
    }
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn every_kind_of_load_is_measured_and_leaves_nothing_behind() {
    for (kind, operation, objects) in [
        ("put", "PutObject", 0),
        ("get", "GetObject", 50),
        ("head", "HeadObject", 50),
        ("list", "ListObjectsV2", 50),
        ("delete", "DeleteObject", 50),
        ("mixed", "GetObject", 50),
    ] {
        let store = Arc::new(Mutex::new(Store::default()));
        store.lock().unwrap().operations.insert("GetObject", 0);
        let addr = serve(store.clone());
        let pid = std::process::id().to_string();
        let output = mews(
            &[
                "bench",
                kind,
                "--size",
                "2KiB",
                "--connections",
                "9",
                "--count",
                "50",
                "--objects",
                "50",
                "--json",
                "--signed",
                "--pid",
                &pid,
            ],
            Some(addr),
        );
        assert!(output.status.success(), "{kind}: {}", text(&output.stderr));
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let row = &document["rows"][0];
        assert_eq!(
            (&row["kind"], &row["operations"], &row["failed"]),
            (&kind.into(), &50.into(), &0.into())
        );
        assert!(row["latency_ms"]["p50"].as_f64() > Some(0.0));
        assert!(row["latency_ms"]["p99"].as_f64() <= row["latency_ms"]["max"].as_f64());
        assert!(row["server_peak_bytes"].as_u64() > Some(0));
        let store = store.lock().unwrap();
        let done = store.operations.get(operation).copied().unwrap_or(0);
        match kind {
            "mixed" => assert!((1..50).contains(&done), "{done} gets among the puts"),
            _ => assert_eq!(done, 50, "{kind}"),
        }
        assert!(store.most >= objects && store.objects.is_empty() && !store.bucket, "{kind}");
    }
}

#[test]
fn refusals_are_counted_by_code_and_fail_the_run() {
    let store = Arc::new(Mutex::new(Store { refuse_every: 10, ..Store::default() }));
    store.lock().unwrap().operations.insert("GetObject", 0);
    let addr = serve(store);
    let output =
        mews(&["bench", "get", "--size", "1", "--count", "100", "--objects", "3"], Some(addr));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stdout).contains("SlowDown 10"), "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains("10 operations failed"));
}

#[test]
fn a_run_for_a_time_ends_in_time_and_keeps_what_it_is_told_to() {
    let store = Arc::new(Mutex::new(Store { bucket: true, ..Store::default() }));
    let addr = serve(store.clone());
    let begun = std::time::Instant::now();
    let args =
        ["bench", "put", "--size", "0", "--duration", "300ms", "--keep", "--connections", "2"];
    let output = mews(&args, Some(addr));
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(begun.elapsed().as_millis() >= 300);
    let store = store.lock().unwrap();
    assert!(store.bucket && !store.objects.is_empty());
    assert_eq!(store.objects.len() as u64, store.operations["PutObject"]);
}

#[test]
fn trouble_is_told_with_what_to_do() {
    let store = Arc::new(Mutex::new(Store::default()));
    let addr = serve(store);
    let wrong = mews(&["bench", "put", "--access-key", KEY, "--secret-key", "wrong"], Some(addr));
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong.stderr).contains("SignatureDoesNotMatch"), "{}", text(&wrong.stderr));

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = mews(&["bench", "put"], Some(nobody));
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("Is the server running?"));

    let keyless = mews(&["bench", "put"], None);
    assert_eq!(keyless.status.code(), Some(1));
    assert!(text(&keyless.stderr).contains("--access-key"), "{}", text(&keyless.stderr));
}

#[test]
fn the_command_line_explains_itself() {
    let help = mews(&["bench", "--help"], None);
    assert_eq!(help.status.code(), Some(0));
    assert!(text(&help.stdout).contains("--suite --pid $(pidof mewsd)"), "{}", text(&help.stdout));
    let version = mews(&["--version"], None);
    assert_eq!(text(&version.stdout), format!("mews {}\n", env!("CARGO_PKG_VERSION")));
    for args in [
        &[][..],
        &["bench"],
        &["bench", "fly"],
        &["bench", "put", "--suite"],
        &["bench", "put", "--connections", "0"],
        &["bench", "put", "--threads", "3"],
        &["bench", "put", "--size", "1parsec"],
        &["bench", "put", "--endpoint", "https://h", "--access-key", "a", "--secret-key", "b"],
        &["bench", "put", "--access-key", "a"],
        &["unknown"],
    ] {
        let output = mews(args, None);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains("--help"), "{args:?}");
    }
}
