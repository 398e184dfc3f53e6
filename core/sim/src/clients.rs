//! What clients do and what they make of the answers: requests chosen by chance, held against one shared history.

use std::collections::BTreeMap;

use crate::{
    client::{Ask, Content, texts},
    dice::Dice,
    history::{History, Tick, WriteId},
    host::Received,
};

/// What clients like to do.
#[derive(Clone, Debug)]
pub struct Habits {
    /// Keys that they share.
    pub keys: u64,
    /// One object of so many shares its blocks with others; 0 for none.
    pub repeat_every: u64,
    /// From how many contents those are chosen.
    pub pool: u64,
    /// The longest object, in blocks.
    pub blocks_max: u64,
    /// One object of so many is small enough for a row; 0 for as many as of each other kind.
    pub small_only: bool,
    /// The size of a block.
    pub block: u64,
    /// The longest payload that lives in a row.
    pub inline: u64,
}

/// A multipart upload that a client has under way.
#[derive(Clone, Debug)]
struct Upload {
    key: String,
    id: String,
    part: Content,
    etag: Option<String>,
}

/// A request whose answer is awaited.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Who sent it.
    pub client: u64,
    /// What it was.
    pub ask: Ask,
    began: Tick,
    write: Option<WriteId>,
    /// A crash or a leaving client may break its answer off.
    pub disturbed: bool,
    /// The store may be unable to serve it just now.
    pub hindered: bool,
}

/// Objects that copies are made of: they never change.
pub const SOURCES: [(&str, Content); 2] = [
    ("source/small", Content { number: 1, len: 33 }),
    ("source/large", Content { number: 2, len: 9000 }),
];

/// The clients, and what they know.
pub struct Clients {
    habits: Habits,
    dice: Dice,
    /// What was written and read.
    pub history: History,
    pending: BTreeMap<u64, Pending>,
    uploads: BTreeMap<u64, Upload>,
    contents: BTreeMap<[u8; 32], Content>,
    written: u64,
    /// Answers that said "not now".
    pub unavailable: u64,
    /// What was wrong.
    pub wrong: Vec<String>,
}

impl Clients {
    /// Clients of these habits who know nothing yet.
    pub fn new(habits: Habits, dice: Dice) -> Self {
        Self {
            habits,
            dice,
            history: History::default(),
            pending: BTreeMap::new(),
            uploads: BTreeMap::new(),
            contents: BTreeMap::new(),
            written: 1000,
            unavailable: 0,
            wrong: Vec::new(),
        }
    }

    /// Notes what the sources of copies hold.
    pub fn prepare(&mut self) {
        for (key, content) in SOURCES {
            self.canonical(content);
            let write = self.history.begin(key, Some(content));
            self.history.succeeded(&write);
        }
    }

    /// How many requests are not answered yet.
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// From now on the answers to all requests under way may be broken off.
    pub fn disturb(&mut self) {
        self.pending.values_mut().for_each(|pending| pending.disturbed = true);
    }

    /// From now on the store may be unable to serve the requests under way.
    pub fn hinder(&mut self) {
        self.pending.values_mut().for_each(|pending| pending.hindered = true);
    }

    /// The answer to this request may be broken off.
    pub fn may_leave(&mut self, request: u64) {
        if let Some(pending) = self.pending.get_mut(&request) {
            pending.disturbed = true;
        }
    }

    fn content(&mut self) -> Content {
        self.written += 1;
        let Habits { blocks_max, pool, repeat_every, small_only, block, inline, .. } = self.habits;
        let len = match if small_only { 0 } else { self.dice.below(4) } {
            0 => self.dice.below(inline + 1),
            1 => self.dice.below(block + 1),
            2 => block * self.dice.below(blocks_max / 2),
            _ => self.dice.below(block * blocks_max),
        };
        let number =
            if self.dice.one_in(repeat_every) { 10 + self.dice.below(pool) } else { self.written };
        let content = Content { number, len: usize::try_from(len).unwrap_or(0) };
        self.canonical(content);
        content
    }

    /// Two contents may have the same bytes, above all short ones: the first stands for all.
    fn canonical(&mut self, content: Content) -> Content {
        let hash = *blake3::hash(&content.bytes()).as_bytes();
        *self.contents.entry(hash).or_insert(content)
    }

    /// What a client asks for next.
    pub fn next(&mut self, client: u64) -> Ask {
        self.choose(client)
    }

    /// A request is sent.
    pub fn sent(&mut self, request: u64, client: u64, ask: Ask, hindered: bool) {
        let write = match &ask {
            Ask::Put(key, content) => Some((key.clone(), Some(*content))),
            Ask::Delete(key) => Some((key.clone(), None)),
            Ask::Copy(from, to) => {
                let source = SOURCES.iter().find(|(name, _)| name == from);
                Some((to.clone(), source.map(|(_, content)| *content)))
            }
            Ask::Complete(key, ..) => {
                Some((key.clone(), self.uploads.get(&client).map(|upload| upload.part)))
            }
            Ask::Get(_)
            | Ask::Head(_)
            | Ask::List(..)
            | Ask::Create(_)
            | Ask::Part(..)
            | Ask::Abort(..)
            | Ask::Uploads
            // Not theirs.
            | Ask::Join(..)
            | Ask::CreateBucket(_)
            | Ask::DeleteBucket(_)
            | Ask::In(..) => None,
        };
        let began = self.history.tick();
        let write = write.map(|(key, value)| {
            let value = value.map(|content| self.canonical(content));
            self.history.begin(&key, value)
        });
        let pending = Pending { client, ask, began, write, disturbed: false, hindered };
        self.pending.insert(request, pending);
    }

    fn choose(&mut self, client: u64) -> Ask {
        let key = format!("key/{}", self.dice.below(self.habits.keys));
        if let Some(upload) = self.uploads.get(&client).cloned() {
            let Upload { key, id, part, etag } = upload;
            return match (etag, self.dice.below(8)) {
                (_, 0) => Ask::Abort(key, id),
                (None, _) | (Some(_), 1) => Ask::Part(key, id, 1, part),
                (Some(etag), _) => Ask::Complete(key, id, vec![etag]),
            };
        }
        match self.dice.below(20) {
            0..7 => Ask::Put(key, self.content()),
            7..12 => Ask::Get(key),
            12 => Ask::Head(key),
            13 | 14 => Ask::Delete(key),
            15 => Ask::Copy(self.dice.pick(&SOURCES).0.to_owned(), key),
            16 => Ask::List(100, None),
            _ => Ask::Create(key),
        }
    }

    /// A request was answered, or its connection broke. Gives whose it was.
    pub fn answered(&mut self, request: u64, received: Option<Received>) -> Option<u64> {
        let pending = self.pending.remove(&request)?;
        let client = pending.client;
        let Some(received) = received else {
            if !pending.disturbed {
                self.wrong.push(format!("{:?} was never answered", pending.ask));
            }
            // Whatever it has begun, somebody else has to see to it.
            self.uploads.remove(&client);
            return Some(client);
        };
        let status = received.head.status;
        // A success may turn into an error once the head is out.
        let failed = status / 100 == 2
            && received.body.starts_with(b"<?xml")
            && String::from_utf8_lossy(&received.body).contains("<Error>");
        if status >= 500 || failed {
            let late = failed && pending.hindered;
            if (status == 503 || late) && pending.hindered {
                self.unavailable += 1;
                // It may have been done all the same.
                self.uploads.remove(&client);
            } else if !pending.disturbed {
                let text = String::from_utf8_lossy(&received.body).into_owned();
                let ask = &pending.ask;
                self.wrong
                    .push(format!("request {request}: {ask:?} was answered {status}: {text}"));
            }
            return Some(client);
        }
        if let Some(write) = &pending.write {
            if status / 100 == 2 {
                self.history.succeeded(write);
            } else {
                self.history.refused(write);
            }
        }
        if let Err(wrong) = self.judge(&pending, &received) {
            self.wrong.push(format!("request {request}: {wrong}"));
        }
        Some(client)
    }

    /// Holds the answer to a request of nobody's in particular against the model.
    pub fn look(&mut self, ask: Ask, began: Tick, received: &Received) {
        let (disturbed, hindered) = (false, false);
        let pending = Pending { client: 0, ask, began, write: None, disturbed, hindered };
        if let Err(wrong) = self.judge(&pending, received) {
            self.wrong.push(format!("in the end: {wrong}"));
        }
    }

    /// Holds an answer against the model.
    fn judge(&mut self, pending: &Pending, received: &Received) -> Result<(), String> {
        let status = received.head.status;
        let unexpected = || {
            let text = String::from_utf8_lossy(&received.body);
            Err(format!("{:?} was answered {status}: {text}", pending.ask))
        };
        let header = |name: &str| {
            let found = received.head.headers.iter().find(|(field, _)| field == name);
            found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        };
        match (&pending.ask, status) {
            (Ask::Put(..) | Ask::Copy(..), 200) | (Ask::Delete(_), 204) => Ok(()),
            (Ask::Get(key), 404) => self.history.read(key, pending.began, None),
            (Ask::Get(key), 200) => {
                if !received.complete {
                    return if pending.disturbed || pending.hindered {
                        Ok(())
                    } else {
                        Err(format!("GET {key} broke off after {} bytes", received.body.len()))
                    };
                }
                let hash = *blake3::hash(&received.body).as_bytes();
                match self.contents.get(&hash).copied() {
                    Some(content) => self.history.read(key, pending.began, Some(content)),
                    None => Err(format!(
                        "GET {key} gave {} bytes that nobody wrote",
                        received.body.len()
                    )),
                }
            }
            (Ask::Head(key), 404) => self.history.listed(key, pending.began, None),
            (Ask::Head(key), 200) => {
                let len = usize::try_from(received.head.len).unwrap_or(usize::MAX);
                self.history.listed(key, pending.began, Some(len))
            }
            (Ask::List(..), 200) => self.judge_listing(pending.began, &received.body),
            (Ask::Create(key), 200) => {
                let body = String::from_utf8_lossy(&received.body);
                let Some(id) = texts(&body, "UploadId").first().map(|id| (*id).to_owned()) else {
                    return unexpected();
                };
                let part = self.content();
                let upload = Upload { key: key.clone(), id, part, etag: None };
                self.uploads.insert(pending.client, upload);
                Ok(())
            }
            (Ask::Part(..), 200) => {
                let etag = header("etag").ok_or("a part without an entity tag")?;
                if let Some(upload) = self.uploads.get_mut(&pending.client) {
                    upload.etag = Some(etag);
                }
                Ok(())
            }
            (Ask::Complete(..), 200) | (Ask::Abort(..), 204) => {
                self.uploads.remove(&pending.client);
                Ok(())
            }
            _ => unexpected(),
        }
    }

    fn judge_listing(&mut self, began: Tick, body: &[u8]) -> Result<(), String> {
        let body = String::from_utf8_lossy(body);
        let sizes = texts(&body, "Size").into_iter().map(|size| size.parse::<usize>().ok());
        let listed: BTreeMap<&str, Option<usize>> =
            texts(&body, "Key").into_iter().zip(sizes).collect();
        for key in self.history.keys() {
            let len = listed.get(key.as_str()).copied().flatten();
            self.history.listed(&key, began, len)?;
        }
        let unknown = listed.keys().find(|key| !self.history.keys().contains(&(**key).to_owned()));
        unknown.map_or(Ok(()), |key| Err(format!("{key} is listed, and nobody wrote it")))
    }
}
