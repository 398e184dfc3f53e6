//! The bucket and the objects that rows need, made before and taken away after.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use mews_core::s3::digest;

use crate::bench::{
    Failure,
    client::{Client, Response},
    load::{self, Keys, Outcome, wall},
    process,
    target::Target,
    work::{Ask, Builder, Kind, Work},
};

/// Keys in one multi-object deletion.
const DELETE_MAX: u64 = 1000;

/// Connections that make objects beforehand.
const MAKERS: usize = 16;

/// A bucket with what is in it.
pub struct Stage {
    target: Target,
    signed: bool,
    builder: Builder,
    /// Begins every key of this run, so that runs do not meet.
    prefix: String,
    /// The series made so far, and how many objects each may hold.
    series: BTreeMap<String, Series>,
    /// Whether the bucket is ours to delete.
    made_bucket: bool,
}

enum Series {
    /// So many objects, made beforehand.
    There(u64),
    /// As many as a row has come to make.
    Made(Arc<Keys>),
}

impl Stage {
    /// Makes the bucket if it is missing.
    pub fn open(target: Target, signed: bool) -> Result<Self, Failure> {
        let builder = Builder::new(&target.host, &target.bucket, target.signer.clone(), signed);
        let prefix = format!("bench-{:x}/", wall().0);
        let mut stage =
            Self { target, signed, builder, prefix, series: BTreeMap::new(), made_bucket: false };
        let answer = stage.ask("PUT", "", b"", None)?;
        match answer.status {
            200 => stage.made_bucket = true,
            409 if String::from_utf8_lossy(&answer.body).contains("BucketAlreadyOwnedByYou") => {}
            _ => return Err(stage.refused("the bucket cannot be made", &answer)),
        }
        Ok(stage)
    }

    /// Makes what the row needs, and runs it. These processes are what serves it.
    pub fn measure(&mut self, work: &Work, servers: &[u32]) -> Result<Outcome, Failure> {
        let there = self.prepare(work)?;
        let new = format!("{}new{}-", self.prefix, self.series.len());
        let keys = Arc::new(Keys { there, new: new.clone(), ..Keys::default() });
        self.series.insert(new, Series::Made(keys.clone()));

        let observe = || -> Result<_, Failure> {
            let server = process::sum(servers).map_err(|error| {
                Failure::Failed(format!("the server can no longer be observed: {error}"))
            })?;
            Ok((server, process::usage(std::process::id()).unwrap_or_default()))
        };
        let before = observe()?;
        let mut outcome = load::run(work, &self.target, self.signed, &keys)?;
        let after = observe()?;
        outcome.own_cpu = after.1.cpu.saturating_sub(before.1.cpu);
        if !servers.is_empty() {
            outcome.cpu = Some(after.0.cpu.saturating_sub(before.0.cpu));
            outcome.peak = Some(after.0.peak);
        }
        Ok(outcome)
    }

    /// The series of objects that the row works on, made unless an earlier row had the same.
    fn prepare(&mut self, work: &Work) -> Result<String, Failure> {
        let name = match work.kind {
            Kind::Put => return Ok(String::new()),
            Kind::List => "list".to_owned(),
            // A series that is deleted is of no use to another row.
            Kind::Delete => format!("delete{}", self.series.len()),
            Kind::Get | Kind::Head | Kind::Mixed => format!("get{}", work.size),
        };
        let series = format!("{}{name}-{}-", self.prefix, work.objects);
        if self.series.contains_key(&series) {
            return Ok(series);
        }
        let making = Work {
            kind: Kind::Put,
            // What is only listed, looked at or deleted need not be large.
            size: match work.kind {
                Kind::List | Kind::Delete => 1 << 10,
                Kind::Put | Kind::Get | Kind::Head | Kind::Mixed => work.size,
            },
            connections: MAKERS.min(usize::try_from(work.objects).unwrap_or(MAKERS)),
            threads: 1,
            duration: Duration::from_secs(24 * 3600),
            count: Some(work.objects),
            objects: 0,
            puts: 0,
        };
        let keys = Keys { new: series.clone(), ..Keys::default() };
        self.series.insert(series.clone(), Series::There(work.objects));
        let outcome = load::run(&making, &self.target, self.signed, &keys)?;
        match outcome.errors.iter().next() {
            None => Ok(series),
            Some((code, count)) => Err(Failure::Failed(format!(
                "the objects for {} cannot be made: {code} ({count} of {})",
                work.title(),
                work.objects
            ))),
        }
    }

    /// Deletes every object of this run, and the bucket if this run made it.
    pub fn clean(&mut self) -> Result<(), Failure> {
        for (series, kind) in std::mem::take(&mut self.series) {
            let count = match kind {
                Series::There(count) => count,
                Series::Made(keys) => keys.made.load(Ordering::Relaxed),
            };
            for from in (0..count).step_by(DELETE_MAX as usize) {
                self.delete(&series, from..(from + DELETE_MAX).min(count))?;
            }
        }
        if self.made_bucket {
            let answer = self.ask("DELETE", "", b"", None)?;
            if answer.status >= 300 {
                return Err(self.refused("the bucket cannot be deleted again", &answer));
            }
        }
        Ok(())
    }

    fn delete(&mut self, series: &str, range: std::ops::Range<u64>) -> Result<(), Failure> {
        let objects: String = range
            .map(|index| format!("<Object><Key>{}</Key></Object>", Keys::key(series, index)))
            .collect();
        let body = format!(
            "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Quiet>true</Quiet>{objects}</Delete>"
        );
        let md5 = STANDARD.encode(digest::md5(body.as_bytes()));
        let answer = self.ask("POST", "?delete=", body.as_bytes(), Some(("content-md5", md5)))?;
        let text = String::from_utf8_lossy(&answer.body);
        if answer.status >= 300 || text.contains("<Error>") {
            return Err(self.refused("the objects cannot be deleted again", &answer));
        }
        Ok(())
    }

    /// One request outside of any measurement, on a connection of its own: rows last longer than servers keep an idle one.
    /// Tries for a while where the server asks for that.
    fn ask(
        &mut self,
        method: &str,
        rest: &str,
        body: &[u8],
        header: Option<(&str, String)>,
    ) -> Result<Response, Failure> {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let ask = Ask { method, rest, body, header: header.clone() };
            let head = self.builder.head(&ask, wall())?;
            let mut client = Client::new(self.target.addr);
            let answer = smol::block_on(client.request(head, body, false, true));
            match answer {
                Ok(answer) if answer.status == 503 && Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(500));
                }
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    let endpoint = &self.target.endpoint;
                    return Err(Failure::Failed(format!(
                        "{endpoint}: {error}. Is the server running?"
                    )));
                }
            }
        }
    }

    fn refused(&self, what: &str, answer: &Response) -> Failure {
        let text = String::from_utf8_lossy(&answer.body);
        let message =
            text.split_once("<Message>").and_then(|(_, rest)| rest.split_once("</Message>"));
        let message = message.map_or("", |(message, _)| message);
        let code = load::trouble(&Ok(answer.clone()), None);
        let code = code.unwrap_or_else(|| format!("status {}", answer.status));
        Failure::Failed(format!("{}: {what}: {code} {message}", self.target.endpoint))
    }
}
