//! One writer: puts, deletes, copies and multipart uploads, one after the other, until the daemon is gone.

use std::{sync::atomic::Ordering, time::Duration};

use super::{
    Tally,
    model::{Blob, Content, Key, Random},
};
use crate::{
    daemon::{BUCKET, Daemon},
    signed::Session,
    wire::Response,
};

/// Longer than any answer takes, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Writes until nothing answers any more.
pub(super) fn write_until_it_dies(
    daemon: &Daemon,
    keys: &mut [Key],
    mut random: Random,
    tally: &Tally,
) {
    let Some(mut client) = Session::open(daemon).map(Client) else { return };
    loop {
        let (content, acknowledged, at) = match random.within(0, 100) {
            0..15 => delete(&mut client, keys, &mut random),
            15..30 => copy(&mut client, keys, &mut random),
            30..40 => multipart(&mut client, keys, &mut random),
            _ => put(&mut client, keys, &mut random),
        };
        keys[at].wrote(content, acknowledged);
        let count = if acknowledged { &tally.acknowledged } else { &tally.unanswered };
        count.fetch_add(1, Ordering::Relaxed);
        if !acknowledged {
            return;
        }
    }
}

/// What a write makes of a key, whether it was acknowledged, and which key it is.
type Wrote = (Content, bool, usize);

fn pick(keys: &[Key], random: &mut Random) -> usize {
    usize::try_from(random.within(0, keys.len() as u64)).expect("an index")
}

/// In a row, in one block, in several.
fn blob(random: &mut Random) -> Blob {
    let len = match random.within(0, 10) {
        0..6 => random.within(0, 8 << 10),
        6..9 => random.within(8 << 10, 300 << 10),
        _ => random.within(1 << 20, 5 << 19),
    };
    Blob { seed: random.next(), len: usize::try_from(len).expect("a few MiB") }
}

fn put(client: &mut Client<'_>, keys: &[Key], random: &mut Random) -> Wrote {
    let (at, blob) = (pick(keys, random), blob(random));
    let reply = client.ask("PUT", &keys[at].name, &[], &blob.bytes());
    (Some(blob), expect(reply, 200).is_some(), at)
}

fn delete(client: &mut Client<'_>, keys: &[Key], random: &mut Random) -> Wrote {
    let at = pick(keys, random);
    let reply = client.ask("DELETE", &keys[at].name, &[], b"");
    (None, expect(reply, 204).is_some(), at)
}

/// Copies a key that is there, or puts one if none is.
fn copy(client: &mut Client<'_>, keys: &[Key], random: &mut Random) -> Wrote {
    let (at, from) = (pick(keys, random), pick(keys, random));
    let known = keys[from].sure.filter(|_| keys[from].unsure.is_empty() && from != at);
    let Some(blob) = known else { return put(client, keys, random) };
    let source = format!("{BUCKET}/{}", keys[from].name);
    let reply = client.ask("PUT", &keys[at].name, &[("x-amz-copy-source", &source)], b"");
    (Some(blob), expect(reply, 200).is_some(), at)
}

/// One part is enough: more would have to be of 5 MiB.
fn multipart(client: &mut Client<'_>, keys: &[Key], random: &mut Random) -> Wrote {
    let (at, blob) = (pick(keys, random), blob(random));
    let name = &keys[at].name;
    // Until it is completed, nothing has changed.
    let unchanged = (keys[at].sure, false, at);
    let reply = client.ask("POST", &format!("{name}?uploads="), &[], b"");
    let Some(reply) = expect(reply, 200) else { return unchanged };
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    let id = text.split("<UploadId>").nth(1).and_then(|rest| rest.split('<').next());
    let id = id.expect("an upload has an id").to_owned();
    let target = format!("{name}?partNumber=1&uploadId={id}");
    let Some(part) = expect(client.ask("PUT", &target, &[], &blob.bytes()), 200) else {
        return unchanged;
    };
    let etag = part.header("etag").expect("a part has an entity tag");
    let list = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    );
    let reply = client.ask("POST", &format!("{name}?uploadId={id}"), &[], list.as_bytes());
    (Some(blob), expect(reply, 200).is_some(), at)
}

/// The reply, if there was one. Any other status than this is a failure: nobody disturbs the writer.
fn expect(reply: Option<Response>, status: u16) -> Option<Response> {
    let reply = reply?;
    assert_eq!(reply.status, status, "{}", String::from_utf8_lossy(&reply.body));
    Some(reply)
}

/// A connection to the daemon.
struct Client<'a>(Session<'a>);

impl Client<'_> {
    /// Sends a request; nothing, if the daemon is gone before the whole answer has come.
    fn ask(
        &mut self,
        method: &str,
        key: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Response> {
        self.0.ask(method, key, headers, body, PATIENCE)
    }
}
