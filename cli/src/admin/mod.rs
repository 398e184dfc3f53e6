//! The commands for operators: each is one call of the Admin API or two, and a page made of the answer.

pub mod apply;
pub mod block;
pub mod bucket;
mod client;
pub mod cluster;
mod confirm;
mod expire;
mod find;
pub mod json_api;
pub mod key;
pub mod layout;
pub mod meta;
pub mod node;
pub mod repair;
#[cfg(test)]
mod tests;
pub mod token;
mod value;
mod wait;
pub mod worker;

use serde_json::Value;

pub use client::{Client, Target};
pub use find::{Named, buckets, keys, nodes_of, tokens};

use crate::page::{Page, Screen};

/// Why a command was not done.
#[derive(Debug)]
pub enum Failure {
    /// The command line makes no sense.
    Usage(String),
    /// Nobody was there to say that it is meant.
    Unconfirmed(String),
    /// It failed; the text says what to do.
    Failed(String),
}

/// What a command gives.
#[derive(Debug)]
pub struct Done {
    /// For people.
    page: Page,
    /// For `--json`; none if the text is all there is.
    json: Option<Value>,
    /// Why the exit code is 1 all the same.
    failed: Option<String>,
}

impl Done {
    fn new(json: Value, show: impl Fn(&Value) -> Page) -> Self {
        Self { page: show(&json), json: Some(json), failed: None }
    }

    /// Done, in these words.
    fn said(json: Value, words: impl Into<Page>) -> Self {
        Self { page: words.into(), json: Some(json), failed: None }
    }

    /// The answers of nodes: failed if any of them did.
    fn each(json: Value, one: impl Fn(&Value) -> Page) -> Self {
        Self { page: each(&json, one), failed: errors(&json), json: Some(json) }
    }

    /// A text that is the same for people and programs.
    pub fn text(text: String) -> Self {
        Self { page: text.into(), json: None, failed: None }
    }

    /// But it has failed, for this reason if there is one.
    fn but(self, failed: Option<String>) -> Self {
        Self { failed, ..self }
    }

    /// What to print, and why the command has failed all the same.
    pub fn outcome(self, as_json: bool, screen: Screen) -> (String, Option<String>) {
        let text = match self.json.filter(|_| as_json) {
            Some(json) => format!("{json:#}\n"),
            None => self.page.render(screen),
        };
        (text, self.failed)
    }
}

/// The answers of several nodes, each by `one`; then the errors.
fn each(answer: &Value, one: impl Fn(&Value) -> Page) -> Page {
    let success = value::fields(&answer["success"]);
    let alone = success.len() == 1;
    success.iter().fold(Page::new(), |page, (node, answer)| {
        let page = if alone { page } else { page.line(format!("Node {}:", value::short(node))) };
        page.then(one(answer))
    })
}

/// The errors of several nodes.
fn errors(answer: &Value) -> Option<String> {
    let errors = value::fields(&answer["error"]);
    let line = |(node, error): (&String, &Value)| {
        format!("node {}: {}", value::short(node), value::text(error))
    };
    let lines: Vec<String> = errors.iter().map(line).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}
