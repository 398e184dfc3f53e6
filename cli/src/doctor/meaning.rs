//! Headers and documents that mean something. A store that does not know one can say so; if it takes it, its meaning must show.

use super::{
    Probe,
    report::Finding,
    session::{Answer, Ask, Session, Trouble},
};

/// In the order in which they run.
pub const PROBES: &[Probe] = &[
    ("acl", acl),
    ("tagging-header", tagging_header),
    ("storage-class", storage_class),
    ("object-lock", object_lock),
    ("encryption", encryption),
    ("encryption-with-own-key", encryption_with_own_key),
    ("website-redirect", website_redirect),
    ("tagging", tagging),
    ("retention", retention),
    ("versioning", versioning),
    ("lifecycle", lifecycle),
    ("cors", cors),
    ("policy", policy),
    ("bucket-encryption", bucket_encryption),
    ("unknown-operation", unknown_operation),
    ("errors", errors),
];

type Found = Result<Finding, Trouble>;

/// What an answer that is no success means: that the store does not have this, or that it could not even say so.
fn refused(answer: &Answer) -> Finding {
    if answer.status < 500 || answer.not_offered() {
        Finding::refused(answer)
    } else {
        Finding::wrong(answer.short())
    }
}

/// Puts an object with headers; what they mean must show in the answer to `look`.
fn shows(
    session: &mut Session,
    name: &str,
    headers: &[(&str, &str)],
    look: impl FnOnce(&str) -> Ask<'static>,
    seen: impl FnOnce(&Answer) -> bool,
) -> Found {
    let key = session.key(name);
    let ask = headers
        .iter()
        .fold(Ask::object("PUT", &key).body(b"x"), |ask, (name, value)| ask.header(name, *value));
    let answer = session.ask(ask)?;
    if !answer.ok() {
        return Ok(refused(&answer));
    }
    let looked = session.ask(look(&key))?;
    Ok(if looked.ok() && seen(&looked) {
        Finding::honoured("taken, and it shows")
    } else {
        Finding::ignored(format!("{} is taken, and nothing shows of it", headers[0].0))
    })
}

fn acl(session: &mut Session) -> Found {
    let look = |key: &str| Ask::object("GET", key).query("acl=");
    let seen = |answer: &Answer| answer.text().contains("AllUsers");
    shows(session, "acl", &[("x-amz-acl", "public-read")], look, seen)
}

fn tagging_header(session: &mut Session) -> Found {
    let look = |key: &str| Ask::object("GET", key).query("tagging=");
    let seen = |answer: &Answer| answer.text().contains("<Key>colour</Key>");
    shows(session, "tagged", &[("x-amz-tagging", "colour=blue")], look, seen)
}

fn head(key: &str) -> Ask<'static> {
    Ask::object("HEAD", key)
}

fn storage_class(session: &mut Session) -> Found {
    let seen = |answer: &Answer| answer.header("x-amz-storage-class") == Some("STANDARD_IA");
    shows(session, "class", &[("x-amz-storage-class", "STANDARD_IA")], head, seen)
}

fn object_lock(session: &mut Session) -> Found {
    let seen = |answer: &Answer| answer.header("x-amz-object-lock-legal-hold") == Some("ON");
    shows(session, "locked", &[("x-amz-object-lock-legal-hold", "ON")], head, seen)
}

fn encryption(session: &mut Session) -> Found {
    let seen = |answer: &Answer| answer.header("x-amz-server-side-encryption") == Some("AES256");
    shows(session, "encrypted", &[("x-amz-server-side-encryption", "AES256")], head, seen)
}

fn website_redirect(session: &mut Session) -> Found {
    let seen = |answer: &Answer| answer.header("x-amz-website-redirect-location") == Some("/there");
    shows(session, "redirect", &[("x-amz-website-redirect-location", "/there")], head, seen)
}

/// An object that was encrypted with a key that the store does not keep cannot be read without it.
fn encryption_with_own_key(session: &mut Session) -> Found {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let secret = [7_u8; 32];
    let key = session.key("own-key");
    let ask = Ask::object("PUT", &key)
        .header("x-amz-server-side-encryption-customer-algorithm", "AES256")
        .header("x-amz-server-side-encryption-customer-key", STANDARD.encode(secret))
        .header("x-amz-server-side-encryption-customer-key-md5", super::integrity::md5(&secret));
    let answer = session.ask(ask.body(b"secret"))?;
    if !answer.ok() {
        return Ok(refused(&answer));
    }
    let without = session.ask(Ask::object("GET", &key))?;
    Ok(if without.ok() {
        Finding::ignored("the object is read without the key")
    } else {
        Finding::honoured("not to be read without the key")
    })
}

/// Puts a document beside an object or a bucket; a part of it must be in what is read back.
fn document(
    session: &mut Session,
    key: Option<&str>,
    query: &'static str,
    body: &'static str,
    part: &str,
) -> Found {
    let ask = |method| match key {
        Some(key) => Ask::object(method, key).query(query),
        None => Ask::bucket(method).query(query),
    };
    let md5 = super::integrity::md5(body.as_bytes());
    let answer = session.ask(ask("PUT").header("content-md5", md5).body(body.as_bytes()))?;
    if let Some(key) = key {
        let object = session.ask(Ask::object("GET", key))?;
        if object.body == body.as_bytes() {
            return Ok(Finding::wrong("the document has taken the place of the object"));
        }
    }
    if !answer.ok() {
        return Ok(refused(&answer));
    }
    let read = session.ask(ask("GET"))?;
    Ok(if read.ok() && read.text().contains(part) {
        Finding::honoured("taken, and read back")
    } else {
        Finding::ignored(format!("taken, and not there: {}", read.short()))
    })
}

/// An object that a document can be put beside.
fn beside(session: &mut Session, name: &str) -> Result<String, Trouble> {
    let key = session.key(name);
    session.ask(Ask::object("PUT", &key).body(b"the object"))?.done()?;
    Ok(key)
}

fn tagging(session: &mut Session) -> Found {
    let key = beside(session, "tagging")?;
    let body =
        "<Tagging><TagSet><Tag><Key>colour</Key><Value>blue</Value></Tag></TagSet></Tagging>";
    document(session, Some(&key), "tagging=", body, "<Value>blue</Value>")
}

fn retention(session: &mut Session) -> Found {
    let key = beside(session, "legal-hold")?;
    let body = "<LegalHold><Status>OFF</Status></LegalHold>";
    document(session, Some(&key), "legal-hold=", body, "<Status>OFF</Status>")
}

fn versioning(session: &mut Session) -> Found {
    // Suspended, so that nothing is left behind that a DELETE does not take away.
    let body = "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Status>Suspended</Status></VersioningConfiguration>";
    document(session, None, "versioning=", body, "<Status>Suspended</Status>")
}

fn lifecycle(session: &mut Session) -> Found {
    let body = "<LifecycleConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Rule><ID>doctor</ID><Filter><Prefix>none/</Prefix></Filter><Status>Disabled</Status><Expiration><Days>900</Days></Expiration></Rule></LifecycleConfiguration>";
    let found = document(session, None, "lifecycle=", body, "doctor")?;
    session.ask(Ask::bucket("DELETE").query("lifecycle="))?;
    Ok(found)
}

fn cors(session: &mut Session) -> Found {
    let body = "<CORSConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>https://doctor.example</AllowedOrigin></CORSRule></CORSConfiguration>";
    let found = document(session, None, "cors=", body, "https://doctor.example")?;
    session.ask(Ask::bucket("DELETE").query("cors="))?;
    Ok(found)
}

fn policy(session: &mut Session) -> Found {
    // It allows nobody anything that is not allowed anyway, and denies nothing.
    let body = "{\"Version\":\"2012-10-17\",\"Statement\":[]}";
    let found = document(session, None, "policy=", body, "2012-10-17")?;
    session.ask(Ask::bucket("DELETE").query("policy="))?;
    Ok(found)
}

fn bucket_encryption(session: &mut Session) -> Found {
    let body = "<ServerSideEncryptionConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>";
    document(session, None, "encryption=", body, "AES256")
}

/// A method that S3 does not have must not do anything.
fn unknown_operation(session: &mut Session) -> Found {
    let key = beside(session, "unknown")?;
    let answer = session.ask(Ask::object("PATCH", &key).body(b"patched"))?;
    let after = session.ask(Ask::object("GET", &key))?.done()?;
    Ok(if answer.ok() {
        Finding::ignored("PATCH is answered with success")
    } else if after.body != b"the object" {
        Finding::wrong("PATCH is refused, and changes the object")
    } else {
        refused(&answer)
    })
}

/// What is not there is said to be so, in S3's words.
fn errors(session: &mut Session) -> Found {
    let key = session.key("nowhere");
    let answer = session.ask(Ask::object("GET", &key))?;
    Ok(if (answer.status, answer.code().as_str()) == (404, "NoSuchKey") {
        Finding::honoured(answer.short())
    } else {
        Finding::wrong(format!("{}, not 404 NoSuchKey", answer.short()))
    })
}
