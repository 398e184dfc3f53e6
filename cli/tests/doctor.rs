//! `mews doctor s3` as a program, against a small server that lies: it takes whatever it is sent and looks at nothing.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Output},
    sync::{Arc, Mutex},
};

use serde_json::Value;

/// How much of what it should do the server does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Honesty {
    /// It keeps objects, and says yes to everything.
    None,
    /// It refuses all that has a header or a query which it does not know.
    Refuses,
    /// It checks `If-None-Match: *`, and then takes its time before it writes.
    Slow,
}

type Objects = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

fn serve(honesty: Honesty) -> (SocketAddr, Objects) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (addr, objects) = (listener.local_addr().unwrap(), Objects::default());
    let kept = objects.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, objects) = (stream.unwrap(), objects.clone());
            std::thread::spawn(move || connection(stream, &objects, honesty));
        }
    });
    (addr, kept)
}

struct Asked {
    method: String,
    path: String,
    query: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

fn read(reader: &mut impl BufRead) -> Option<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let (path, query) = (path.to_owned(), query.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_owned(), value.trim().to_owned());
    }
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { method, path, query, headers, body })
}

fn connection(stream: TcpStream, objects: &Objects, honesty: Honesty) {
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    while let Some(asked) = read(&mut reader) {
        let (status, body) = answer(&asked, objects, honesty);
        let len = body.len();
        write!(writer, "HTTP/1.1 {status} X\r\netag: \"1\"\r\ncontent-length: {len}\r\n\r\n")
            .unwrap();
        if asked.method != "HEAD" {
            writer.write_all(&body).unwrap();
        }
    }
}

fn code(code: &str) -> Vec<u8> {
    format!("<Error><Code>{code}</Code></Error>").into_bytes()
}

fn answer(asked: &Asked, objects: &Objects, honesty: Honesty) -> (u16, Vec<u8>) {
    let Asked { method, path, query, headers, body } = asked;
    let plain = ["host", "content-length", "x-amz-date", "x-amz-content-sha256", "authorization"];
    let known = headers.keys().all(|name| plain.contains(&name.as_str()));
    let listing = query.starts_with("list-type=2");
    if honesty == Honesty::Refuses && !(known && (query.is_empty() || listing)) {
        return (501, code("NotImplemented"));
    }
    let key = path.splitn(3, '/').nth(2).map(decoded);
    if honesty == Honesty::Slow && headers.get("if-none-match").is_some_and(|value| value == "*") {
        if objects.lock().unwrap().contains_key(key.as_ref().unwrap()) {
            return (412, code("PreconditionFailed"));
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let mut objects = objects.lock().unwrap();
    match (method.as_str(), key) {
        ("GET", None) if listing => (200, list(query, &objects)),
        (_, None) => (200, vec![]),
        ("PUT", Some(key)) => {
            objects.insert(key, body.clone());
            (200, vec![])
        }
        ("DELETE", Some(key)) => {
            objects.remove(&key);
            (204, vec![])
        }
        ("GET" | "HEAD", Some(key)) => {
            objects.get(&key).map_or((404, code("NoSuchKey")), |body| (200, body.clone()))
        }
        (_, Some(_)) => (200, vec![]),
    }
}

fn list(query: &str, objects: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let prefix = query.split('&').find_map(|pair| pair.strip_prefix("prefix="));
    let prefix = prefix.map(decoded).unwrap_or_default();
    let keys = objects.keys().filter(|key| key.starts_with(&prefix));
    let escaped = |key: &String| key.replace('&', "&amp;").replace('<', "&lt;");
    keys.map(|key| format!("<Contents><Key>{}</Key></Contents>", escaped(key)))
        .collect::<String>()
        .into_bytes()
}

fn decoded(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            plain => plain,
        });
    }
    String::from_utf8(out).unwrap()
}

fn doctor(addr: SocketAddr, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mews"));
    command.env_clear().current_dir(env!("CARGO_TARGET_TMPDIR"));
    command.env("AWS_ACCESS_KEY_ID", "key").env("AWS_SECRET_ACCESS_KEY", "secret");
    command.args(["doctor", "s3", "--endpoint", &format!("http://{addr}")]).args(args);
    command.output().unwrap()
}

/// The verdict on each feature.
fn verdicts(output: &Output) -> BTreeMap<String, String> {
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let features = document["features"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    features.iter().map(|line| (text(&line["feature"]), text(&line["verdict"]))).collect()
}

#[test]
fn a_server_that_looks_at_nothing_is_found_out() {
    let (addr, objects) = serve(Honesty::None);
    let output = doctor(addr, &["--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let verdicts = verdicts(&output);
    let of = |verdict: &str| -> Vec<&str> {
        let all = verdicts.iter().filter(|(_, each)| *each == verdict);
        all.map(|(feature, _)| feature.as_str()).collect()
    };
    let honoured = [
        "errors",
        "keys-with-any-character",
        "keys-with-dots",
        "keys-with-empty-segments",
        "list-after-write",
        "presigned-get",
        "presigned-put",
        "read-after-delete",
        "read-after-overwrite",
        "read-after-write",
    ];
    assert_eq!(of("honoured"), honoured);
    assert_eq!(of("refused"), [""; 0]);
    for ignored in [
        "put-if-none-match",
        "put-if-none-match-race",
        "put-if-match",
        "get-if-none-match",
        "range",
        "signature",
        "no-signature",
        "payload-hash",
        "content-md5",
        "checksum-crc32",
        "chunked",
        "chunk-signature",
        "trailer",
        "trailer-checksum",
        "presigned-expired",
        "presigned-for-another",
        "acl",
        "object-lock",
        "encryption-with-own-key",
        "lifecycle",
        "unknown-operation",
        "copy",
        "metadata",
    ] {
        assert_eq!(verdicts.get(ignored).map(String::as_str), Some("ignored"), "{ignored}");
    }
    assert_eq!(verdicts["tagging"], "wrong", "the document has overwritten the object");
    assert!(objects.lock().unwrap().is_empty(), "nothing is left behind");
}

#[test]
fn a_server_that_refuses_what_it_does_not_know_is_fine_but_for_what_any_store_must_do() {
    let (addr, objects) = serve(Honesty::Refuses);
    let output = doctor(addr, &["--json"]);
    let verdicts = verdicts(&output);
    for refused in ["put-if-none-match-race", "range", "trailer", "acl", "policy", "multipart"] {
        assert_eq!(verdicts[refused], "refused", "{refused}");
    }
    assert_eq!(verdicts["signature"], "ignored", "signatures are no matter of choice");
    assert_eq!(output.status.code(), Some(1));
    assert!(objects.lock().unwrap().is_empty());
}

#[test]
fn two_winners_of_a_race_are_found() {
    let (addr, _) = serve(Honesty::Slow);
    let output = doctor(addr, &["--json"]);
    let verdicts = verdicts(&output);
    assert_eq!(verdicts["put-if-none-match"], "honoured");
    assert!(["ignored", "wrong"].contains(&verdicts["put-if-none-match-race"].as_str()));
}

#[test]
fn people_read_a_line_for_each_feature_and_in_a_bucket_that_is_there_nothing_else_is_touched() {
    let (addr, objects) = serve(Honesty::None);
    objects.lock().unwrap().insert("mine".to_owned(), b"untouched".to_vec());
    let output = doctor(addr, &["--bucket", "photos"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with(&format!("http://{addr}\nhonoured  read-after-write")), "{text}");
    assert!(text.contains("\nIGNORED   range "), "{text}");
    assert!(text.lines().last().unwrap().contains("silently ignored"), "{text}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("features are silently ignored or wrong"), "{stderr}");
    let objects = objects.lock().unwrap();
    assert_eq!(objects.keys().collect::<Vec<_>>(), ["mine"]);
}

#[test]
fn a_server_that_is_not_there_is_an_error() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = doctor(nobody, &[]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("Is the server running?"), "{stderr}");
}
