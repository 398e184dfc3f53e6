//! `mews`: the command line of Mews: commands for operators, and the load generator.

mod admin;
mod bench;
mod command;
mod doctor;
mod manual;
mod metrics;
mod page;
mod words;

use std::{io::Write, process::ExitCode};

use admin::Failure;
use command::{Command, TopLevel};
use page::Screen;

/// Exit code: done.
const DONE: u8 = 0;
/// Exit code: failed.
const FAILED: u8 = 1;
/// Exit code: the command line makes no sense.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let mut words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let program = words.next().unwrap_or_else(|| "mews".to_owned());
    let program = program.rsplit('/').next().unwrap_or("mews").to_owned();
    let words: Vec<String> = words.collect();
    if let Some((manual::ASKED_BY_SHELLS, words)) =
        words.split_first().map(|(word, rest)| (word.as_str(), rest))
    {
        return say(&mut std::io::stdout(), &manual::complete(words), DONE);
    }
    match words::parse(&program, words) {
        Err(exit) if exit.status.is_ok() => say(&mut std::io::stdout(), &exit.output, DONE),
        Err(exit) => misused(&program, &exit.output),
        Ok(TopLevel { version: true, .. }) => {
            let text = format!("{program} {}\n", env!("CARGO_PKG_VERSION"));
            say(&mut std::io::stdout(), &text, DONE)
        }
        Ok(TopLevel { command: None, .. }) => {
            misused(&program, "say what to do, for example `status`")
        }
        Ok(TopLevel { command: Some(command), admin, token, dir, json, .. }) => {
            run(&program, command, admin::Target { url: admin, token, dir }, json)
        }
    }
}

/// Does what was asked for, and prints what came of it.
fn run(program: &str, command: Command, target: admin::Target, json: bool) -> ExitCode {
    match command::run(command, target) {
        Ok(done) => {
            let (text, reason) = done.outcome(json, Screen::of_stdout());
            let code = if reason.is_some() { FAILED } else { DONE };
            if let Some(reason) = reason.filter(|reason| !reason.is_empty()) {
                // The exit code says it, too.
                let _unheard = writeln!(std::io::stderr(), "{program}: {reason}");
            }
            say(&mut std::io::stdout(), &text, code)
        }
        Err(Failure::Usage(reason)) => misused(program, &reason),
        Err(Failure::Unconfirmed(reason)) => {
            say(&mut std::io::stderr(), &format!("{program}: {reason}\n"), USAGE)
        }
        Err(Failure::Failed(reason)) => failed(program, &reason),
    }
}

fn misused(program: &str, reason: &str) -> ExitCode {
    let hint = format!("Run `{program} --help` for what is understood.");
    say(&mut std::io::stderr(), &format!("{program}: {}\n{hint}\n", reason.trim_end()), USAGE)
}

fn failed(program: &str, reason: &str) -> ExitCode {
    say(&mut std::io::stderr(), &format!("{program}: {reason}\n"), FAILED)
}

/// Writes a text and gives the exit code: 1 if it could not be written.
fn say(to: &mut impl Write, text: &str, code: u8) -> ExitCode {
    let written = to.write_all(text.as_bytes()).and_then(|()| to.flush());
    ExitCode::from(if written.is_ok() { code } else { FAILED })
}
