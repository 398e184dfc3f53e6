//! What was found, line by line as it comes, or as JSON in the end.

use std::io::Write;

use serde::Serialize;

use super::{
    Failure,
    session::{Answer, Trouble},
};

/// What becomes of a feature that a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is done.
    Honoured,
    /// The client is told that it is not done.
    Refused,
    /// The client is told that it is done, and it is not.
    Ignored,
    /// Something else is done, or nothing that makes sense.
    Wrong,
}

/// A verdict, and what it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The verdict.
    pub verdict: Verdict,
    /// What was seen.
    pub detail: String,
}

impl Finding {
    /// It is done.
    pub fn honoured(detail: impl Into<String>) -> Self {
        Self { verdict: Verdict::Honoured, detail: detail.into() }
    }

    /// It is said to be done, and is not.
    pub fn ignored(detail: impl Into<String>) -> Self {
        Self { verdict: Verdict::Ignored, detail: detail.into() }
    }

    /// It goes wrong.
    pub fn wrong(detail: impl Into<String>) -> Self {
        Self { verdict: Verdict::Wrong, detail: detail.into() }
    }

    /// The answer refuses it.
    pub fn refused(answer: &Answer) -> Self {
        Self { verdict: Verdict::Refused, detail: answer.short() }
    }
}

impl From<Trouble> for Finding {
    /// A probe that found no answer it can go on with.
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Refused(answer) if answer.not_offered() => Self::refused(&answer),
            Trouble::Refused(answer) => Self::wrong(answer.short()),
            Trouble::Broken(reason) => Self::wrong(reason),
        }
    }
}

#[derive(Serialize)]
struct Line {
    feature: &'static str,
    verdict: Verdict,
    detail: String,
}

/// Fields are only ever added.
#[derive(Serialize)]
struct Document<'a> {
    version: &'a str,
    endpoint: &'a str,
    features: &'a [Line],
    honoured: usize,
    refused: usize,
    ignored: usize,
    wrong: usize,
}

/// Gathers and prints.
pub struct Report {
    endpoint: String,
    json: bool,
    lines: Vec<Line>,
}

impl Report {
    /// Nothing found yet.
    pub fn new(endpoint: &str, json: bool) -> Self {
        Self { endpoint: endpoint.to_owned(), json, lines: Vec::new() }
    }

    /// One more.
    pub fn finding(&mut self, feature: &'static str, finding: Finding) -> Result<(), Failure> {
        let Finding { verdict, detail } = finding;
        if !self.json {
            let word = match verdict {
                Verdict::Honoured => "honoured",
                Verdict::Refused => "refused",
                Verdict::Ignored => "IGNORED",
                Verdict::Wrong => "WRONG",
            };
            let head =
                if self.lines.is_empty() { format!("{}\n", self.endpoint) } else { String::new() };
            print(&format!("{head}{word:<9} {feature:<28} {detail}\n"))?;
        }
        self.lines.push(Line { feature, verdict, detail });
        Ok(())
    }

    /// How many features are ignored or wrong.
    pub fn bad(&self) -> usize {
        self.count(Verdict::Ignored) + self.count(Verdict::Wrong)
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.lines.iter().filter(|line| line.verdict == verdict).count()
    }

    /// The end.
    pub fn finish(&self) -> Result<(), Failure> {
        let [honoured, refused, ignored, wrong] =
            [Verdict::Honoured, Verdict::Refused, Verdict::Ignored, Verdict::Wrong]
                .map(|verdict| self.count(verdict));
        if !self.json {
            return print(&format!(
                "{honoured} honoured, {refused} refused, {ignored} silently ignored, {wrong} wrong\n"
            ));
        }
        let (version, endpoint, features) =
            (env!("CARGO_PKG_VERSION"), self.endpoint.as_str(), &self.lines[..]);
        let document = Document { version, endpoint, features, honoured, refused, ignored, wrong };
        let text = serde_json::to_string_pretty(&document).map_err(Failure::failed)?;
        print(&format!("{text}\n"))
    }
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::failed)
}
