//! The crash matrix: one request, and a crash at every place where there can be one.

use std::fmt;

use crate::{
    client::{Ask, Content, texts},
    host::{Crash, Happened, Options},
    sim::Sim,
};

/// The key that the request is about.
const KEY: &str = "some/key";

/// A key that it is not about.
const OTHER: &str = "other";

/// The request that is broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// PUT of a payload that lives in a row.
    PutSmall,
    /// PUT of one block.
    PutBlock,
    /// PUT of several blocks.
    PutLarge,
    /// PUT of several blocks over several others.
    Overwrite,
    /// PUT of a small payload over several blocks.
    OverwriteSmall,
    /// DELETE of several blocks.
    Delete,
    /// DELETE of a small object.
    DeleteSmall,
    /// COPY of several blocks.
    Copy,
    /// COPY of a small object over several blocks.
    CopySmall,
    /// UploadPart, again over the same part.
    Part,
    /// CompleteMultipartUpload of two parts, over several blocks.
    Complete,
    /// AbortMultipartUpload of two parts.
    Abort,
}

impl Case {
    /// Every case.
    pub const ALL: [Self; 12] = [
        Self::PutSmall,
        Self::PutBlock,
        Self::PutLarge,
        Self::Overwrite,
        Self::OverwriteSmall,
        Self::Delete,
        Self::DeleteSmall,
        Self::Copy,
        Self::CopySmall,
        Self::Part,
        Self::Complete,
        Self::Abort,
    ];
}

/// Where the crash comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// Before the event of this number, counted from the request.
    pub event: u64,
    /// Not before it but inside it, at the so manieth step that changes a disk.
    pub inside: Option<u64>,
    /// How.
    pub how: Crash,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at event {}", self.how, self.event)?;
        self.inside.map_or(Ok(()), |step| write!(f, ", inside it at step {step}"))
    }
}

const SMALL: Content = Content { number: 1, len: 40 };
const BLOCK: Content = Content { number: 2, len: 3000 };
const LARGE: Content = Content { number: 4, len: 5 * 4096 + 100 };
const LARGER: Content = Content { number: 7, len: 7 * 4096 };
/// Parts must have 5 MiB, all but the last.
const PART: Content = Content { number: 8, len: 5 << 20 };

/// What the key holds before and after, and what the request asks.
struct Plan {
    before: Option<Vec<u8>>,
    after: Option<Vec<u8>>,
    ask: Ask,
}

fn ok(sim: &mut Sim, ask: &Ask) -> Result<String, String> {
    match sim.call(ask) {
        Some(received) if received.head.status / 100 == 2 => {
            let etag = received.head.headers.iter().find(|(name, _)| name == "etag");
            let etag = etag.map(|(_, value)| String::from_utf8_lossy(value).into_owned());
            Ok(etag.unwrap_or_else(|| String::from_utf8_lossy(&received.body).into_owned()))
        }
        other => Err(format!("{ask:?} was answered {}", shown(other))),
    }
}

fn shown(received: Option<crate::host::Received>) -> String {
    received.map_or("by nobody".to_owned(), |received| {
        format!("{}: {}", received.head.status, String::from_utf8_lossy(&received.body))
    })
}

/// Brings about what is there before the request.
fn prepare(sim: &mut Sim, case: Case) -> Result<Plan, String> {
    let key = || KEY.to_owned();
    let put = |content| Ask::Put(KEY.to_owned(), content);
    ok(sim, &Ask::Put(OTHER.to_owned(), LARGE))?;
    let (before, after, ask) = match case {
        Case::PutSmall => (None, Some(SMALL), put(SMALL)),
        Case::PutBlock => (None, Some(BLOCK), put(BLOCK)),
        Case::PutLarge => (None, Some(LARGER), put(LARGER)),
        Case::Overwrite => (Some(LARGE), Some(LARGER), put(LARGER)),
        Case::OverwriteSmall => (Some(LARGER), Some(SMALL), put(SMALL)),
        Case::Delete => (Some(LARGER), None, Ask::Delete(key())),
        Case::DeleteSmall => (Some(SMALL), None, Ask::Delete(key())),
        Case::Copy => (None, Some(LARGE), Ask::Copy(OTHER.to_owned(), key())),
        Case::CopySmall => {
            ok(sim, &Ask::Put(OTHER.to_owned(), SMALL))?;
            (Some(LARGER), Some(SMALL), Ask::Copy(OTHER.to_owned(), key()))
        }
        Case::Part | Case::Complete | Case::Abort => return prepare_upload(sim, case),
    };
    if let Some(before) = before {
        ok(sim, &put(before))?;
    }
    Ok(Plan { before: before.map(Content::bytes), after: after.map(Content::bytes), ask })
}

fn prepare_upload(sim: &mut Sim, case: Case) -> Result<Plan, String> {
    ok(sim, &Ask::Put(KEY.to_owned(), LARGER))?;
    let created = ok(sim, &Ask::Create(KEY.to_owned()))?;
    let upload = texts(&created, "UploadId").first().map(|id| (*id).to_owned());
    let upload = upload.ok_or_else(|| format!("no upload id in {created}"))?;
    // All but the completion do with one small part.
    let parts = if case == Case::Complete { vec![PART, LARGE] } else { vec![LARGE] };
    let mut etags = Vec::new();
    for (part, number) in parts.iter().zip(1..) {
        let ask = Ask::Part(KEY.to_owned(), upload.clone(), number, *part);
        etags.push(ok(sim, &ask)?);
    }
    let before = Some(LARGER.bytes());
    Ok(match case {
        Case::Complete => Plan {
            before,
            after: Some(parts.iter().flat_map(|part| part.bytes()).collect()),
            ask: Ask::Complete(KEY.to_owned(), upload, etags),
        },
        Case::Part => {
            let ask = Ask::Part(KEY.to_owned(), upload, 1, BLOCK);
            Plan { after: before.clone(), before, ask }
        }
        Case::Abort
        | Case::PutSmall
        | Case::PutBlock
        | Case::PutLarge
        | Case::Overwrite
        | Case::OverwriteSmall
        | Case::Delete
        | Case::DeleteSmall
        | Case::Copy
        | Case::CopySmall => {
            let ask = Ask::Abort(KEY.to_owned(), upload);
            Plan { after: before.clone(), before, ask }
        }
    })
}

/// How many events there are from the request to its answer, and a few beyond.
///
/// # Errors
/// If the request is not answered as it should be.
pub fn events(case: Case, seed: u64, options: &Options) -> Result<u64, String> {
    let mut sim = Sim::new(seed, options.clone())?;
    let plan = prepare(&mut sim, case)?;
    let start = sim.handled();
    ok(&mut sim, &plan.ask)?;
    Ok(sim.handled() - start + 4)
}

/// Crashes at one place, starts again, and looks at everything. Gives what is wrong.
pub fn run(case: Case, seed: u64, at: At, options: &Options) -> Vec<String> {
    let mut wrong = Vec::new();
    if let Err(error) = crash(case, seed, at, options, &mut wrong) {
        wrong.push(error);
    }
    wrong.iter().map(|wrong| format!("{case:?}, seed {seed}, {at}: {wrong}")).collect()
}

fn crash(
    case: Case,
    seed: u64,
    at: At,
    options: &Options,
    wrong: &mut Vec<String>,
) -> Result<(), String> {
    let mut sim = Sim::new(seed, options.clone())?;
    let plan = prepare(&mut sim, case)?;
    let acknowledged = break_off(&mut sim, &plan.ask, at)?;
    sim.crash_and_boot(at.how).map_err(|error| format!("it does not start again: {error}"))?;

    let found = get(&mut sim, KEY)?;
    let new = found == plan.after;
    if acknowledged && !new {
        wrong.push("what was acknowledged is lost".to_owned());
    }
    if !new && found != plan.before {
        let len = found.as_ref().map(Vec::len);
        wrong.push(format!("neither the old nor the new object, but {len:?} bytes"));
    }
    let other = if case == Case::CopySmall { SMALL } else { LARGE };
    if get(&mut sim, OTHER)? != Some(other.bytes()) {
        wrong.push("another object is not what it was".to_owned());
    }
    sim.rest()?;
    wrong.extend(sim.check());
    if get(&mut sim, KEY)? != found {
        wrong.push("the object has changed while the node came to rest".to_owned());
    }
    let listed = ok(&mut sim, &Ask::List(10, None))?;
    if texts(&listed, "Key").contains(&KEY) != found.is_some() {
        wrong.push("the listing does not say what GET says".to_owned());
    }
    ok(&mut sim, &Ask::Put(KEY.to_owned(), LARGE))?;
    if get(&mut sim, KEY)? != Some(LARGE.bytes()) {
        wrong.push("the store does not take a new object".to_owned());
    }
    Ok(())
}

/// Sends the request and stops at the place; says whether it was answered with success by then.
fn break_off(sim: &mut Sim, ask: &Ask, at: At) -> Result<bool, String> {
    let start = sim.handled();
    let number = sim.send(ask);
    let mut acknowledged = false;
    loop {
        let reached = sim.handled() - start == at.event;
        match at.inside {
            None if reached => return Ok(acknowledged),
            Some(step) if reached => {
                let (platter, disk) = (sim.host().platter(), sim.host().disk());
                platter.stop_at(platter.steps() + step);
                disk.mem.fail_at(disk.mem.steps() + step, true);
                // What is said after the power has failed is heard by nobody.
                sim.cluster.step();
                return Ok(acknowledged);
            }
            None | Some(_) => {}
        }
        for happened in sim.cluster.step().ok_or("nothing happens any more")? {
            if let Happened::Answered(answered, received) = happened
                && answered == number
            {
                match received {
                    Some(received) if received.head.status / 100 == 2 => acknowledged = true,
                    other => return Err(format!("{ask:?} was answered {}", shown(other))),
                }
            }
        }
    }
}

fn get(sim: &mut Sim, key: &str) -> Result<Option<Vec<u8>>, String> {
    match sim.call(&Ask::Get(key.to_owned())) {
        Some(received) if received.head.status == 200 && received.complete => {
            Ok(Some(received.body))
        }
        Some(received) if received.head.status == 404 => Ok(None),
        Some(received) if received.head.status == 200 => {
            Err(format!("GET {key} broke off after {} bytes", received.body.len()))
        }
        other => Err(format!("GET {key} was answered {}", shown(other))),
    }
}

/// Crashes at every event, before it and inside it, for one case and one seed. Gives the number of crashes, or what is wrong.
///
/// # Errors
/// Everything wrong, a line each.
pub fn sweep(case: Case, seed: u64, options: &Options) -> Result<u64, Vec<String>> {
    let events = events(case, seed, options).map_err(|error| vec![format!("{case:?}: {error}")])?;
    let mut wrong = Vec::new();
    let mut crashes = 0;
    for event in 0..=events {
        // By turns, so that a sweep over a few seeds sees each place crash in each way.
        let turn = event + seed;
        let how = if turn % 4 == 3 { Crash::Kill } else { Crash::Power };
        wrong.extend(run(case, seed, At { event, inside: None, how }, options));
        let inside = Some(turn % 23);
        wrong.extend(run(case, seed, At { event, inside, how: Crash::Power }, options));
        crashes += 2;
    }
    if wrong.is_empty() { Ok(crashes) } else { Err(wrong) }
}
