//! Plays one case against a daemon.

use std::{thread, time::Duration};

use super::table::{Case, Fate, Outcome, Step, expand};
use crate::{
    daemon::{BUCKET, Daemon},
    signed::{self, presigned},
    wire::{Response, Silence, Wire},
};

/// How long a daemon may take for what it should do at once. The build is unoptimised and a dozen cases run side by side.
const PATIENCE: Duration = Duration::from_secs(5);

struct Player<'a> {
    daemon: &'a Daemon,
    wire: Wire,
    /// Bytes a packet, if they are to be split.
    split: Option<usize>,
    patience: Duration,
    last: Option<Response>,
}

/// Plays it; the error says what was not as expected.
pub(super) fn play(daemon: &Daemon, case: &Case) -> Result<(), String> {
    for step in &case.steps {
        if let Step::With { key, text } = step {
            let response = signed::put(daemon, key, text.as_bytes());
            expect_status(&response, 200, "storing the object beforehand")?;
        }
    }
    let wire = Wire::connect(daemon.s3());
    let mut player = Player { daemon, wire, split: None, patience: PATIENCE, last: None };
    case.steps.iter().try_for_each(|step| player.step(step))
}

impl Player<'_> {
    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::With { .. } => {}
            Step::Send(text) => self.send(text),
            Step::Split(size) => self.split = Some(*size),
            Step::Pause(wait) => thread::sleep(*wait),
            Step::HalfClose => self.wire.half_close(),
            Step::Patience(patience) => self.patience = *patience,
            Step::Expect { head_only, any_of } => return self.expect(*head_only, any_of),
            Step::Body(text) => {
                let body = self.last()?.body.as_slice();
                if body != text.as_bytes() {
                    return Err(format!("the body is {:?}", String::from_utf8_lossy(body)));
                }
            }
            Step::Header { name, value } => match self.last()?.header(name) {
                Some(found) if value == "*" || found.eq_ignore_ascii_case(value) => {}
                found => return Err(format!("{name} is {found:?}")),
            },
            Step::NoHeader(name) => {
                if let Some(value) = self.last()?.header(name) {
                    return Err(format!("{name} is there: {value:?}"));
                }
            }
            Step::Stored { key, text } => {
                let response = signed::get(self.daemon, key);
                expect_status(&response, 200, &format!("reading {key}"))?;
                if response.body != text.as_bytes() {
                    let body = String::from_utf8_lossy(&response.body);
                    return Err(format!("{key} holds {body:?}"));
                }
            }
            Step::Absent(key) => {
                expect_status(&signed::get(self.daemon, key), 404, &format!("reading {key}"))?;
            }
        }
        Ok(())
    }

    fn last(&self) -> Result<&Response, String> {
        self.last.as_ref().ok_or_else(|| "there is no response to look at".to_owned())
    }

    fn send(&mut self, text: &str) {
        let daemon = self.daemon;
        let bytes = expand(text, &|name| {
            Some(match name.split_once(' ').unwrap_or((name, "")) {
                ("host", _) => daemon.s3().to_string(),
                ("bucket", _) => BUCKET.to_owned(),
                ("put", key) => presigned(daemon, "PUT", key, &[]),
                ("get", key) => presigned(daemon, "GET", key, &[]),
                ("head", key) => presigned(daemon, "HEAD", key, &[]),
                ("delete", key) => presigned(daemon, "DELETE", key, &[]),
                ("chunked", key_and_length) => {
                    let (key, length) = key_and_length.split_once(' ')?;
                    presigned(daemon, "PUT", key, &[("x-amz-decoded-content-length", length)])
                }
                _ => return None,
            })
        });
        match self.split {
            None => {
                self.wire.send(&bytes);
            }
            Some(size) => {
                for piece in bytes.chunks(size) {
                    self.wire.send(piece);
                    // Long enough for the daemon to see them apart, most of the time.
                    thread::sleep(Duration::from_micros(300));
                }
            }
        }
    }

    fn expect(&mut self, head_only: bool, any_of: &[Outcome]) -> Result<(), String> {
        let mut came = self.wire.response(head_only, self.patience);
        if came.as_ref().is_ok_and(|response| response.status == 100)
            && !any_of.iter().any(|outcome| outcome.allows(100))
        {
            came = self.wire.response(head_only, self.patience);
        }
        let response = match came {
            Err(Silence::Closed) if any_of.iter().any(|o| matches!(o, Outcome::Closed)) => {
                return Ok(());
            }
            Err(silence) => return Err(format!("no response: {silence:?}")),
            Ok(response) => response,
        };
        let status = response.status;
        if !response.whole {
            return Err(format!("the body of the {status} was cut short"));
        }
        let fates: Vec<Fate> = any_of
            .iter()
            .filter(|outcome| outcome.allows(status))
            .filter_map(|outcome| match outcome {
                Outcome::Response { fate, .. } => Some(*fate),
                Outcome::Closed => None,
            })
            .collect();
        if fates.is_empty() {
            let body = String::from_utf8_lossy(&response.body).into_owned();
            return Err(format!("the status is {status}: {body}"));
        }
        let said_close = response.header("connection") == Some("close");
        self.last = Some(response);
        let mut problem = None;
        for fate in fates {
            match self.fate(fate, said_close) {
                Ok(()) => return Ok(()),
                Err(what) => problem = Some(format!("after the {status}: {what}")),
            }
        }
        problem.map_or(Ok(()), Err)
    }

    fn fate(&mut self, fate: Fate, said_close: bool) -> Result<(), String> {
        match fate {
            Fate::Open | Fate::Any => Ok(()),
            Fate::Close => self.closes(),
            Fate::Keep if said_close => Err("it says `connection: close`".to_owned()),
            Fate::Keep => {
                self.wire.send(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
                let probe = self.wire.response(false, PATIENCE);
                let probe = probe.map_err(|silence| format!("no second response: {silence:?}"))?;
                expect_status(&probe, 403, "the next request on the connection")?;
                self.closes()
            }
        }
    }

    fn closes(&mut self) -> Result<(), String> {
        match self.wire.closes(PATIENCE) {
            Ok(true) => Ok(()),
            Ok(false) => Err("the connection stays open".to_owned()),
            Err(more) => {
                let more = &more[..more.len().min(100)];
                Err(format!("more bytes came: {:?}", String::from_utf8_lossy(more)))
            }
        }
    }
}

fn expect_status(response: &Response, status: u16, doing: &str) -> Result<(), String> {
    if response.status == status {
        return Ok(());
    }
    let body = String::from_utf8_lossy(&response.body);
    Err(format!("{doing}: {} instead of {status}: {body}", response.status))
}
