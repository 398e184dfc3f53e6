//! What any store must do: keep objects, under whatever key, and show them.

use super::{
    Probe,
    report::Finding,
    session::{Ask, Session, Trouble, element, encoded},
};

/// In the order in which they run.
pub const PROBES: &[Probe] = &[
    ("read-after-write", read_after_write),
    ("read-after-overwrite", read_after_overwrite),
    ("read-after-delete", read_after_delete),
    ("list-after-write", list_after_write),
    ("list-pages", list_pages),
    ("list-delimiter", list_delimiter),
    ("metadata", metadata),
    ("copy", copy),
    ("delete-many", delete_many),
    ("multipart", multipart),
    ("keys-with-empty-segments", keys_with_empty_segments),
    ("keys-with-dots", keys_with_dots),
    ("keys-with-any-character", keys_with_any_character),
];

type Found = Result<Finding, Trouble>;

fn put(session: &mut Session, key: &str, body: &[u8]) -> Result<(), Trouble> {
    session.ask(Ask::object("PUT", key).body(body))?.done().map(drop)
}

/// The body of an object; none if there is no such object.
fn get(session: &mut Session, key: &str) -> Result<Option<Vec<u8>>, Trouble> {
    let answer = session.ask(Ask::object("GET", key))?;
    if answer.status == 404 { Ok(None) } else { answer.done().map(|answer| Some(answer.body)) }
}

/// The keys on the first page of a listing.
fn list(session: &mut Session, query: &str) -> Result<Vec<String>, Trouble> {
    let ask = Ask::bucket("GET").query(format!("list-type=2&{query}"));
    let text = session.ask(ask)?.done()?.text();
    let keys = text.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
    Ok(keys.map(unescaped).collect())
}

fn unescaped(text: &str) -> String {
    let pairs = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&apos;", "'"),
        ("&amp;", "&"),
    ];
    pairs.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

fn read_after_write(session: &mut Session) -> Found {
    for number in 0..10 {
        let key = session.key(&format!("write-{number}"));
        let body = format!("body {number}").repeat(number * 500 + 1);
        put(session, &key, body.as_bytes())?;
        if get(session, &key)?.as_deref() != Some(body.as_bytes()) {
            return Ok(Finding::wrong(format!("object {number} is not what was put")));
        }
    }
    Ok(Finding::honoured("10 of 10"))
}

fn read_after_overwrite(session: &mut Session) -> Found {
    let key = session.key("overwritten");
    for number in 0..10 {
        let body = format!("version {number}");
        put(session, &key, body.as_bytes())?;
        if get(session, &key)?.as_deref() != Some(body.as_bytes()) {
            return Ok(Finding::wrong(format!("write {number} is not what is read after it")));
        }
    }
    Ok(Finding::honoured("10 of 10"))
}

fn read_after_delete(session: &mut Session) -> Found {
    let key = session.key("deleted");
    put(session, &key, b"soon gone")?;
    session.ask(Ask::object("DELETE", &key))?.done()?;
    Ok(match get(session, &key)? {
        None => Finding::honoured("404 after DELETE"),
        Some(_) => Finding::wrong("still there after DELETE"),
    })
}

fn list_after_write(session: &mut Session) -> Found {
    let series = session.key("listed/");
    let query = format!("prefix={}", encoded(&series, false));
    let mut there = Vec::new();
    for number in 0..10 {
        let key = session.key(&format!("listed/{number}"));
        put(session, &key, b"x")?;
        there.push(key);
        let listed = list(session, &query)?;
        if listed != there {
            return Ok(Finding::wrong(format!(
                "after {} PUTs {} are listed",
                there.len(),
                listed.len()
            )));
        }
    }
    session.ask(Ask::object("DELETE", &there.remove(0)))?.done()?;
    if list(session, &query)? != there {
        return Ok(Finding::wrong("what was deleted is still listed"));
    }
    Ok(Finding::honoured("after each of 10 PUTs and a DELETE"))
}

fn list_pages(session: &mut Session) -> Found {
    let series = session.key("page/");
    let mut there = Vec::new();
    for number in 0..7 {
        let key = session.key(&format!("page/{number}"));
        put(session, &key, b"x")?;
        there.push(key);
    }
    let (mut found, mut token) = (Vec::new(), None::<String>);
    for _ in 0..10 {
        let mut query = format!("list-type=2&max-keys=3&prefix={}", encoded(&series, false));
        if let Some(token) = &token {
            query += &format!("&continuation-token={}", encoded(token, false));
        }
        let text = session.ask(Ask::bucket("GET").query(query))?.done()?.text();
        let page = text.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
        let page: Vec<String> = page.map(unescaped).collect();
        if page.len() > 3 {
            return Ok(Finding::ignored(format!("max-keys=3, and {} keys", page.len())));
        }
        found.extend(page);
        token = element(&text, "NextContinuationToken").map(unescaped);
        if token.is_none() {
            break;
        }
    }
    Ok(if found == there {
        Finding::honoured("7 keys by 3")
    } else {
        Finding::wrong(format!("{} of 7 keys on the pages", found.len()))
    })
}

fn list_delimiter(session: &mut Session) -> Found {
    let series = session.key("tree/");
    for name in ["tree/a", "tree/b/c", "tree/b/d"] {
        let key = session.key(name);
        put(session, &key, b"x")?;
    }
    let query = format!("list-type=2&delimiter=%2F&prefix={}", encoded(&series, false));
    let text = session.ask(Ask::bucket("GET").query(query))?.done()?.text();
    let keys = text.matches("<Key>").count();
    let prefixes = text.matches("<CommonPrefixes>").count();
    Ok(match (keys, prefixes) {
        (1, 1) => Finding::honoured("one key, one common prefix"),
        (3, 0) => Finding::ignored("all keys are listed one by one"),
        _ => Finding::wrong(format!("{keys} keys and {prefixes} common prefixes, not one of each")),
    })
}

fn metadata(session: &mut Session) -> Found {
    let key = session.key("metadata");
    let sent = [
        ("content-type", "text/x-doctor"),
        ("cache-control", "max-age=7"),
        ("content-disposition", "attachment"),
        ("content-language", "de"),
        ("x-amz-meta-who", "the doctor"),
    ];
    let ask = sent
        .iter()
        .fold(Ask::object("PUT", &key).body(b"x"), |ask, (name, value)| ask.header(name, *value));
    session.ask(ask)?.done()?;
    let head = session.ask(Ask::object("HEAD", &key))?.done()?;
    let lost = sent.iter().filter(|(name, value)| head.header(name) != Some(value));
    let lost: Vec<&str> = lost.map(|(name, _)| *name).collect();
    Ok(if lost.is_empty() {
        Finding::honoured("headers and x-amz-meta-* come back")
    } else {
        Finding::ignored(format!("does not come back: {}", lost.join(", ")))
    })
}

fn copy(session: &mut Session) -> Found {
    let (from, to) = (session.key("copy-from"), session.key("copy-to"));
    put(session, &from, b"copied")?;
    let source = format!("/{}/{}", session.bucket(), encoded(&from, true));
    let ask = Ask::object("PUT", &to).header("x-amz-copy-source", source);
    session.ask(ask)?.done()?;
    Ok(match get(session, &to)?.as_deref() {
        Some(b"copied") => Finding::honoured("the copy is the same"),
        Some(b"") => Finding::ignored("an empty object was made instead of a copy"),
        Some(_) | None => Finding::wrong("the copy is another"),
    })
}

fn delete_many(session: &mut Session) -> Found {
    let keys = [session.key("many-1"), session.key("many-2")];
    for key in &keys {
        put(session, key, b"x")?;
    }
    let objects: String =
        keys.iter().map(|key| format!("<Object><Key>{key}</Key></Object>")).collect();
    let body =
        format!("<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{objects}</Delete>");
    let md5 = super::integrity::md5(body.as_bytes());
    let ask = Ask::bucket("POST").query("delete=").header("content-md5", md5);
    session.ask(ask.body(body.as_bytes()))?.done()?;
    for key in &keys {
        if get(session, key)?.is_some() {
            return Ok(Finding::ignored("the objects are still there"));
        }
    }
    Ok(Finding::honoured("both are gone"))
}

fn multipart(session: &mut Session) -> Found {
    let key = session.key("multipart");
    let begun = session.ask(Ask::object("POST", &key).query("uploads="))?.done()?;
    let Some(upload) = element(&begun.text(), "UploadId").map(str::to_owned) else {
        return Ok(Finding::wrong("the upload has no id"));
    };
    let parts = [vec![b'a'; 5 << 20], b"the end".to_vec()];
    let mut list = String::new();
    for (number, part) in (1..).zip(&parts) {
        let query = format!("partNumber={number}&uploadId={}", encoded(&upload, false));
        let answer = session.ask(Ask::object("PUT", &key).query(query).body(part))?.done()?;
        let tag = answer.header("etag").unwrap_or_default();
        list += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>");
    }
    let complete = |session: &mut Session, list: &str| {
        let body = format!(
            "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{list}</CompleteMultipartUpload>"
        );
        let query = format!("uploadId={}", encoded(&upload, false));
        session.ask(Ask::object("POST", &key).query(query).body(body.as_bytes()))
    };
    let missing =
        format!("{list}<Part><PartNumber>3</PartNumber><ETag>\"{:032}\"</ETag></Part>", 0);
    let refused = complete(session, &missing)?;
    // S3 may answer 200 before it knows, and say in the body that it failed.
    if refused.ok() && !refused.text().contains("<Error>") {
        return Ok(Finding::wrong("completed with a part that was never sent"));
    }
    complete(session, &list)?.done()?;
    Ok(if get(session, &key)? == Some(parts.concat()) {
        Finding::honoured("two parts, whole; a part never sent is refused")
    } else {
        Finding::wrong("the object is not its parts")
    })
}

/// Puts each key with a body of its own, and looks whether they are all there, each by its name.
fn distinct(session: &mut Session, names: &[&str]) -> Found {
    let mut there = Vec::new();
    let mut refused = Vec::new();
    for name in names {
        let key = session.key(name);
        let answer = session.ask(Ask::object("PUT", &key).body(key.as_bytes()))?;
        if answer.ok() {
            there.push(key);
        } else {
            refused.push(format!("{name:?}: {}", answer.short()));
        }
    }
    for key in &there {
        match get(session, key)? {
            Some(body) if body == key.as_bytes() => {}
            Some(_) => return Ok(Finding::wrong(format!("{key:?} is taken for another key"))),
            None => return Ok(Finding::wrong(format!("{key:?} was put, and is not there"))),
        }
        let prefix = format!("prefix={}", encoded(key, false));
        if !list(session, &prefix)?.contains(key) {
            return Ok(Finding::wrong(format!("{key:?} is not listed as it was put")));
        }
    }
    match refused.first() {
        None => Ok(Finding::honoured(format!("{} keys, each by its own name", there.len()))),
        Some(_) => {
            Ok(Finding { verdict: super::report::Verdict::Refused, detail: refused.join(", ") })
        }
    }
}

fn keys_with_empty_segments(session: &mut Session) -> Found {
    distinct(session, &["seg/a/b", "seg/a//b", "seg//a/b", "seg/a/b/", "/seg/a/b"])
}

fn keys_with_dots(session: &mut Session) -> Found {
    distinct(session, &["dot/y", "dot/../y", "../y", "dot/./y", "dot/.", "dot/.."])
}

fn keys_with_any_character(session: &mut Session) -> Found {
    distinct(
        session,
        &["a b", "a+b", "a%20b", "a&b<c>\"d'", "é", "日本", "a?b#c", "a\\b", "~*'()!"],
    )
}
