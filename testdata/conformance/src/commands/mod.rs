//! `mews`, command by command, as people and scripts use it.

mod apply;
mod buckets;
mod cluster;
mod keys;
mod path;
mod place;
mod terminal;
mod tokens;
mod words;

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use crate::{cluster::sibling, daemon::Daemon};

/// Commands for any S3 endpoint, which [`tools`](crate::tools) runs against both daemons.
const TOOLS: [&str; 2] = ["bench", "doctor s3"];

/// Runs every command against `binary`.
pub fn run(binary: impl AsRef<Path>) {
    let binary = binary.as_ref();
    let keeper = Keeper::start(binary);
    cluster::run(&keeper);
    keys::run(&keeper);
    buckets::run(&keeper);
    tokens::run(&keeper);
    apply::run(&keeper);
    words::run(&keeper);
    terminal::run(&keeper);
    keeper.has_run_everything();
    path::run(binary);
    place::run(keeper);
}

/// Somebody at a command line beside a daemon.
struct Keeper {
    daemon: Daemon,
    mews: PathBuf,
    /// The commands that were run.
    said: RefCell<BTreeSet<String>>,
}

impl Keeper {
    fn start(binary: &Path) -> Self {
        let daemon = Daemon::start(binary);
        Self { daemon, mews: sibling(binary, "mews"), said: RefCell::default() }
    }

    /// `mews` with these words, and no terminal.
    fn command(&self, words: &[&str]) -> Command {
        self.said.borrow_mut().insert(words.join(" "));
        let mut command = Command::new(&self.mews);
        // It finds the API by the directory alone.
        command.env_remove("MEWS_ADMIN_URL").env_remove("MEWS_ADMIN_TOKEN");
        command.arg("--dir").arg(self.daemon.dir()).args(words).stdin(Stdio::null());
        command
    }

    fn output(&self, words: &[&str]) -> Output {
        self.command(words).output().expect("mews runs")
    }

    /// What it says when it succeeds.
    fn says(&self, words: &[&str]) -> String {
        let output = self.output(words);
        assert!(output.status.success(), "mews {words:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// That it says this, among other things.
    fn hears(&self, words: &[&str], part: &str) {
        let text = self.says(words);
        assert!(text.contains(part), "mews {words:?} does not say `{part}`:\n{text}");
    }

    /// What it says with `--json`.
    fn json(&self, words: &[&str]) -> Value {
        let text = self.says(&[words, &["--json"]].concat());
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("mews {words:?}: {error}\n{text}"))
    }

    /// That it fails with this exit code and says this on stderr, among other things.
    fn is_refused(&self, words: &[&str], code: i32, part: &str) {
        let output = self.output(words);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "mews {words:?}: {output:?}");
        assert!(text.contains(part), "mews {words:?} does not say `{part}`:\n{text}");
    }

    /// That each command with a help text was run.
    fn has_run_everything(&self) {
        let help = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cli/help");
        let said = self.said.borrow();
        for entry in fs::read_dir(help).expect("the help texts are there") {
            let text = fs::read_to_string(entry.expect("an entry").path()).expect("text");
            let usage = text.lines().next().expect("a usage");
            if text.contains("\nCommands:\n") {
                continue;
            }
            let words = usage.trim_start_matches("Usage: mews ").split(' ');
            let words = words.take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase()));
            let command = words.collect::<Vec<_>>().join(" ");
            let is_it =
                |line: &String| *line == command || line.starts_with(&format!("{command} "));
            let was_run = said.iter().any(is_it) || TOOLS.contains(&command.as_str());
            assert!(was_run, "nothing here runs `mews {command}`");
        }
    }
}
