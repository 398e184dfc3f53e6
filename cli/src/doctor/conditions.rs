//! Conditions: writes that only one may win, and reads that need not be answered.

use super::{
    Probe,
    report::Finding,
    session::{Answer, Ask, Session, Trouble},
};

/// In the order in which they run.
pub const PROBES: &[Probe] = &[
    ("put-if-none-match", put_if_none_match),
    ("put-if-none-match-race", put_if_none_match_race),
    ("put-if-match", put_if_match),
    ("get-if-none-match", get_if_none_match),
    ("get-if-match", get_if_match),
    ("get-if-modified-since", get_if_modified_since),
    ("get-if-unmodified-since", get_if_unmodified_since),
    ("copy-if-match", copy_if_match),
    ("range", range),
    ("range-of-the-end", range_of_the_end),
    ("range-beyond-the-end", range_beyond_the_end),
];

type Found = Result<Finding, Trouble>;

/// A moment long before any object was made, and one long after.
const LONG_AGO: &str = "Mon, 01 Jan 2001 00:00:00 GMT";

const BODY: &[u8] = b"0123456789abcdefghij";

/// Puts the body under a key, and gives its tag.
fn there(session: &mut Session, name: &str) -> Result<(String, String), Trouble> {
    let key = session.key(name);
    let answer = session.ask(Ask::object("PUT", &key).body(BODY))?.done()?;
    let tag = answer.header("etag").unwrap_or_default().to_owned();
    Ok((key, tag))
}

fn body(session: &mut Session, key: &str) -> Result<Vec<u8>, Trouble> {
    Ok(session.ask(Ask::object("GET", key))?.done()?.body)
}

fn put_if_none_match(session: &mut Session) -> Found {
    let (key, _) = there(session, "if-none-match")?;
    let ask = Ask::object("PUT", &key).header("if-none-match", "*").body(b"later");
    let answer = session.ask(ask)?;
    if !answer.ok() {
        return Ok(precondition(&answer, 412));
    }
    Ok(match &body(session, &key)?[..] {
        b"later" => Finding::ignored("an object that was there was overwritten"),
        _ => Finding::wrong("said to be done, and was not"),
    })
}

/// Of several who may only make what is not there, one wins, and what it wrote is there.
fn put_if_none_match_race(session: &mut Session) -> Found {
    const ROUNDS: usize = 5;
    const RACERS: usize = 8;
    for round in 0..ROUNDS {
        let key = session.key(&format!("race-{round}"));
        let bodies: Vec<String> = (0..RACERS).map(|racer| format!("racer {racer}")).collect();
        let ask = Ask::object("PUT", &key).header("if-none-match", "*");
        let answers = session.race(&ask, &bodies).into_iter().collect::<Result<Vec<_>, _>>()?;
        let won = (0..RACERS).filter(|racer| answers[*racer].ok()).collect::<Vec<_>>();
        let [winner] = won[..] else {
            let Some(refusal) = answers.iter().find(|answer| !answer.ok()) else {
                return Ok(Finding::ignored(format!(
                    "all {RACERS} at once were told that they won"
                )));
            };
            if won.is_empty() && refusal.not_offered() {
                return Ok(Finding::refused(refusal));
            }
            return Ok(Finding::wrong(format!("{} of {RACERS} at once won", won.len())));
        };
        if body(session, &key)? != bodies[winner].as_bytes() {
            return Ok(Finding::wrong("what a loser wrote is there"));
        }
    }
    Ok(Finding::honoured(format!("one of {RACERS} at once, {ROUNDS} times")))
}

fn put_if_match(session: &mut Session) -> Found {
    let (key, tag) = there(session, "if-match")?;
    let put = |tag: &str| Ask::object("PUT", &key).header("if-match", tag).body(b"later");
    let answer = session.ask(put("\"00000000000000000000000000000000\""))?;
    if answer.ok() {
        return Ok(Finding::ignored("an object with another ETag was overwritten"));
    }
    if answer.status != 412 {
        return Ok(precondition(&answer, 412));
    }
    let right = session.ask(put(&tag))?;
    Ok(if right.ok() {
        Finding::honoured("412 for another ETag")
    } else {
        Finding::wrong(format!("the right ETag is refused, too: {}", right.short()))
    })
}

/// What an answer means that should have this status.
fn precondition(answer: &Answer, expected: u16) -> Finding {
    if answer.status == expected {
        Finding::honoured(answer.short())
    } else if answer.not_offered() {
        Finding::refused(answer)
    } else {
        Finding::wrong(format!("{}, not {expected}", answer.short()))
    }
}

/// A GET that a condition should turn away.
fn turned_away(session: &mut Session, ask: Ask<'_>, expected: u16) -> Found {
    let answer = session.ask(ask)?;
    Ok(if answer.ok() {
        Finding::ignored("the object is sent all the same")
    } else {
        precondition(&answer, expected)
    })
}

fn get_if_none_match(session: &mut Session) -> Found {
    let (key, tag) = there(session, "get-if")?;
    turned_away(session, Ask::object("GET", &key).header("if-none-match", tag), 304)
}

fn get_if_match(session: &mut Session) -> Found {
    let (key, _) = there(session, "get-if")?;
    turned_away(session, Ask::object("GET", &key).header("if-match", "\"0\""), 412)
}

fn get_if_modified_since(session: &mut Session) -> Found {
    let (key, _) = there(session, "get-if")?;
    let head = session.ask(Ask::object("HEAD", &key))?.done()?;
    let Some(date) = head.header("last-modified").map(str::to_owned) else {
        return Ok(Finding::wrong("an object has no last-modified"));
    };
    turned_away(session, Ask::object("GET", &key).header("if-modified-since", date), 304)
}

fn get_if_unmodified_since(session: &mut Session) -> Found {
    let (key, _) = there(session, "get-if")?;
    turned_away(session, Ask::object("GET", &key).header("if-unmodified-since", LONG_AGO), 412)
}

fn copy_if_match(session: &mut Session) -> Found {
    let (from, _) = there(session, "copy-if")?;
    let to = session.key("copied-if");
    let source = format!("/{}/{from}", session.bucket());
    let ask = Ask::object("PUT", &to).header("x-amz-copy-source", source);
    let answer = session.ask(ask.header("x-amz-copy-source-if-match", "\"0\""))?;
    Ok(if answer.ok() {
        Finding::ignored("copied all the same")
    } else {
        precondition(&answer, 412)
    })
}

fn ranged(session: &mut Session, range: &str) -> Result<Answer, Trouble> {
    let (key, _) = there(session, "ranged")?;
    session.ask(Ask::object("GET", &key).header("range", range))
}

fn part(answer: &Answer, expected: &[u8], place: &str) -> Finding {
    match answer.status {
        206 if answer.body != expected => Finding::wrong("206, with other bytes"),
        206 if answer.header("content-range") != Some(place) => {
            let said = answer.header("content-range").unwrap_or("none");
            Finding::wrong(format!("content-range: {said}, not {place}"))
        }
        206 => Finding::honoured(place),
        200 => Finding::ignored("the whole object is sent"),
        _ => precondition(answer, 206),
    }
}

fn range(session: &mut Session) -> Found {
    let answer = ranged(session, "bytes=3-6")?;
    Ok(part(&answer, &BODY[3..7], "bytes 3-6/20"))
}

fn range_of_the_end(session: &mut Session) -> Found {
    let answer = ranged(session, "bytes=-5")?;
    Ok(part(&answer, &BODY[15..], "bytes 15-19/20"))
}

fn range_beyond_the_end(session: &mut Session) -> Found {
    let answer = ranged(session, "bytes=20-30")?;
    Ok(if answer.ok() {
        Finding::ignored(format!("{} for a range that is not there", answer.status))
    } else {
        precondition(&answer, 416)
    })
}
