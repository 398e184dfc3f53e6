//! What happened, in order: hashed always, kept as text where somebody wants to read it.

use std::fmt;

use mews_core::time::Instant;

/// The record of one run. Two runs of one seed have the same hash, or the simulator is not deterministic.
#[derive(Debug)]
pub struct Trace {
    hasher: blake3::Hasher,
    lines: u64,
    text: Option<Vec<String>>,
}

impl Trace {
    /// An empty record; with `keep`, its text can be read afterwards.
    pub fn new(keep: bool) -> Self {
        Self { hasher: blake3::Hasher::new(), lines: 0, text: keep.then(Vec::new) }
    }

    /// Whether the text is kept.
    pub fn keeps(&self) -> bool {
        self.text.is_some()
    }

    /// Adds a line.
    pub fn note(&mut self, at: Instant, what: fmt::Arguments<'_>) {
        let line = format!("{} {what}", clock(at));
        self.hasher.update(line.as_bytes()).update(b"\n");
        self.lines += 1;
        if let Some(text) = &mut self.text {
            text.push(line);
        }
    }

    /// Adds a line that is told by numbers: the hash is over these, and the words are made only where they are kept, because most
    /// of what happens is told to nobody.
    pub fn mark(&mut self, at: Instant, numbers: &[u64], words: impl FnOnce() -> String) {
        self.hasher.update(&at.0.to_le_bytes());
        for number in numbers {
            self.hasher.update(&number.to_le_bytes());
        }
        self.lines += 1;
        if let Some(text) = &mut self.text {
            text.push(format!("{} {}", clock(at), words()));
        }
    }

    /// Adds words that are no part of the hash.
    pub fn aside(&mut self, at: Instant, words: impl FnOnce() -> String) {
        if let Some(text) = &mut self.text {
            text.push(format!("{} {}", clock(at), words()));
        }
    }

    /// How many lines there are.
    pub fn len(&self) -> u64 {
        self.lines
    }

    /// Whether nothing has happened.
    pub fn is_empty(&self) -> bool {
        self.lines == 0
    }

    /// The hash over all lines, in hexadecimal.
    pub fn hash(&self) -> String {
        hex::encode(&self.hasher.finalize().as_bytes()[..16])
    }

    /// The lines, if they were kept.
    pub fn text(&self) -> &[String] {
        self.text.as_deref().unwrap_or_default()
    }
}

fn clock(at: Instant) -> String {
    let micros = at.0 / 1000;
    format!("{:>6}.{:06}", micros / 1_000_000, micros % 1_000_000)
}
