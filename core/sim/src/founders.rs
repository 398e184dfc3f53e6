//! Clients that create and delete buckets, and put objects into them; and what they make of the answers. Of two who create a bucket of
//! one name, one wins; a bucket that is deleted takes nothing with it that was acknowledged: see [`order`].

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    client::{Ask, Content, texts},
    dice::Dice,
    history::Tick,
    host::Received,
    order::{self, Asked, Step},
};

/// How many names are in use at a time.
const NAMES: u64 = 2;

/// How many requests a name is asked for before another takes its place: that an order of them can be looked for.
const REQUESTS: usize = 24;

/// The keys of a bucket.
const KEYS: [&str; 2] = ["a", "b"];

/// Contents of theirs have numbers from here on.
const CONTENTS: u64 = 1 << 40;

struct Pending {
    client: u64,
    name: String,
    ask: Ask,
    /// Its place among what was asked of the name.
    at: usize,
    disturbed: bool,
    hindered: bool,
}

/// The clients, and what they know.
pub struct Founders {
    dice: Dice,
    /// The longest object.
    len_max: u64,
    now: Tick,
    /// The names in use, by their last number.
    current: Vec<u64>,
    asked: BTreeMap<String, Vec<Asked>>,
    pending: BTreeMap<u64, Pending>,
    contents: BTreeMap<[u8; 32], u64>,
    /// All nodes have heard of everything.
    settled: bool,
}

impl Founders {
    /// Clients who know nothing yet.
    pub fn new(dice: Dice, len_max: u64) -> Self {
        Self {
            dice,
            len_max,
            now: 0,
            current: (0..NAMES).collect(),
            asked: BTreeMap::new(),
            pending: BTreeMap::new(),
            contents: BTreeMap::new(),
            settled: false,
        }
    }

    fn tick(&mut self) -> Tick {
        self.now += 1;
        self.now
    }

    /// How many requests are not answered yet.
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// The answer to this request may be broken off.
    pub fn may_leave(&mut self, request: u64) {
        if let Some(pending) = self.pending.get_mut(&request) {
            pending.disturbed = true;
        }
    }

    /// What a client asks for next.
    pub fn ask(&mut self) -> Ask {
        let place = self.dice.index(self.current.len());
        let is_spent = |asked: &Vec<Asked>| asked.len() >= REQUESTS;
        if self.asked.get(&name(self.current[place])).is_some_and(is_spent) {
            self.current[place] += NAMES;
        }
        let name = name(self.current[place]);
        let key = self.dice.pick(&KEYS).to_owned();
        let inside = match self.dice.below(16) {
            0..3 => return Ask::CreateBucket(name),
            3..5 => return Ask::DeleteBucket(name),
            5..9 => Ask::Put(key, self.content()),
            9..11 => Ask::Get(key),
            11 | 12 => Ask::List(100, None),
            _ => Ask::Delete(key),
        };
        Ask::In(name, Box::new(inside))
    }

    fn content(&mut self) -> Content {
        let number = CONTENTS + self.contents.len() as u64;
        // At least as long as it takes to be nobody else's.
        let len = 32 + usize::try_from(self.dice.below(self.len_max)).unwrap_or(0);
        // Even numbers are not shortened for compression.
        let content = Content { number: 2 * number, len };
        self.contents.insert(*blake3::hash(&content.bytes()).as_bytes(), content.number);
        content
    }

    /// A request is sent.
    pub fn sent(&mut self, request: u64, client: u64, ask: Ask, hindered: bool) {
        let began = self.tick();
        let (name, step) = match &ask {
            Ask::CreateBucket(name) => (name, Step::Create),
            Ask::DeleteBucket(name) => (name, Step::Delete),
            Ask::In(name, inside) => {
                let step = if let Ask::Put(key, content) = &**inside {
                    Step::Put(key.clone(), content.number)
                } else if let Ask::Delete(key) = &**inside {
                    Step::Remove(key.clone())
                } else {
                    // What it was is known with the answer.
                    Step::Absent
                };
                (name, step)
            }
            other @ (Ask::Put(..)
            | Ask::Get(_)
            | Ask::Head(_)
            | Ask::Delete(_)
            | Ask::Copy(..)
            | Ask::List(..)
            | Ask::Create(_)
            | Ask::Part(..)
            | Ask::Complete(..)
            | Ask::Abort(..)
            | Ask::Uploads
            | Ask::Join(..)) => unreachable!("they do not ask for {other:?}"),
        };
        let name = name.clone();
        let asked = self.asked.entry(name.clone()).or_default();
        asked.push(Asked { step, began, ended: None, sure: false });
        let at = asked.len() - 1;
        let pending = Pending { client, name, ask, at, disturbed: false, hindered };
        self.pending.insert(request, pending);
    }

    /// A request was answered, or its connection broke. Gives whose it was, and what is wrong with the answer.
    pub fn answered(
        &mut self,
        request: u64,
        received: &Option<Received>,
    ) -> Option<(u64, Result<(), String>)> {
        let pending = self.pending.remove(&request)?;
        let told = match received {
            Some(received) => self.told(&pending, received),
            None if pending.disturbed => Ok(()),
            None => Err(format!("{:?} was never answered", pending.ask)),
        };
        Some((pending.client, told))
    }

    fn told(&mut self, pending: &Pending, received: &Received) -> Result<(), String> {
        let Pending { name, ask, at, .. } = pending;
        let status = received.head.status;
        let text = String::from_utf8_lossy(&received.body).into_owned();
        let unexpected = || Err(format!("{ask:?} was answered {status}: {text}"));
        if status >= 500 {
            let excused = pending.disturbed || (status == 503 && pending.hindered);
            return if excused { Ok(()) } else { unexpected() };
        }
        let no_bucket = status == 404 && text.contains("<Code>NoSuchBucket</Code>");
        let learned = match (ask, status) {
            (Ask::CreateBucket(_), 200) | (Ask::DeleteBucket(_), 204) => None,
            (Ask::CreateBucket(_) | Ask::DeleteBucket(_), 409) => return Ok(()),
            // The own request may have deleted it in an earlier attempt.
            (Ask::DeleteBucket(_), 404) if no_bucket => return Ok(()),
            (Ask::In(_, inside), _) => match (&**inside, status) {
                (Ask::Put(..), 200) | (Ask::Delete(_), 204) => None,
                (Ask::Put(..) | Ask::Delete(_), 404) if no_bucket => return Ok(()),
                // What a deletion of the bucket is in the way of.
                (Ask::Put(..) | Ask::Delete(_), 409) => return Ok(()),
                (Ask::Get(_) | Ask::List(..), 404) if no_bucket => Some(Step::Absent),
                (Ask::Get(key), 404) => Some(Step::Read(key.clone(), None)),
                (Ask::Get(key), 200) if received.complete => {
                    let hash = *blake3::hash(&received.body).as_bytes();
                    let Some(number) = self.contents.get(&hash) else {
                        return Err(format!("{ask:?} gave what nobody wrote"));
                    };
                    Some(Step::Read(key.clone(), Some(*number)))
                }
                (Ask::Get(_), 200) if pending.disturbed || pending.hindered => return Ok(()),
                (Ask::List(..), 200) => {
                    let keys = texts(&text, "Key").into_iter().map(str::to_owned);
                    Some(Step::List(keys.collect()))
                }
                _ => return unexpected(),
            },
            _ => return unexpected(),
        };
        let ended = self.tick();
        let asked = self.asked.get_mut(name).expect("it was asked");
        let step = learned.unwrap_or_else(|| asked[*at].step.clone());
        let sure = self.settled || !may_be_of_an_earlier_bucket(&step, asked);
        asked[*at] = Asked { step, began: asked[*at].began, ended: Some(ended), sure };
        Ok(())
    }

    /// What is to be looked at in the end.
    pub fn looks(&self) -> Vec<Ask> {
        let names = self.asked.keys();
        let inside = KEYS.iter().map(|key| Ask::Get((*key).to_owned()));
        let inside: Vec<Ask> = inside.chain([Ask::List(100, None)]).collect();
        let of = |name: &String| {
            let name = name.clone();
            inside.iter().map(move |ask| Ask::In(name.clone(), Box::new(ask.clone())))
        };
        names.flat_map(of).collect()
    }

    /// What was not done by now never will be.
    pub fn settled(&mut self) {
        self.settled = true;
        let now = self.tick();
        for asked in self.asked.values_mut().flatten() {
            asked.ended = asked.ended.or(Some(now));
        }
    }

    /// What cannot have happened in any order.
    pub fn wrong(&self) -> Vec<String> {
        let found = self.asked.iter().map(|(name, asked)| order::find(name, asked));
        found.filter_map(Result::err).collect()
    }
}

/// Whether this is what a node says that was away when the bucket was deleted and another one created under its name. Until it hears
/// of that it finds nothing under the key.
fn may_be_of_an_earlier_bucket(step: &Step, asked: &[Asked]) -> bool {
    let finds_nothing = match step {
        Step::Remove(_) | Step::Read(_, None) => true,
        Step::List(keys) => keys.is_empty(),
        Step::Create | Step::Delete | Step::Put(..) | Step::Read(_, Some(_)) | Step::Absent => {
            false
        }
    };
    finds_nothing && asked.iter().any(|asked| asked.step == Step::Delete)
}

fn name(number: u64) -> String {
    format!("founded-{number}")
}

impl std::fmt::Debug for Founders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: BTreeSet<&String> = self.asked.keys().collect();
        write!(f, "Founders of {names:?}")
    }
}
