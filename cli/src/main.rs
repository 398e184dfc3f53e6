//! `mews`: the command line of Mews: commands for operators, and the load generator.

mod admin;
mod bench;
mod doctor;
mod metrics;

use std::{io::Write, process::ExitCode};

use argh::FromArgs;

/// Exit code: done.
const DONE: u8 = 0;
/// Exit code: failed.
const FAILED: u8 = 1;
/// Exit code: the command line makes no sense.
const USAGE: u8 = 2;

/// The command line of Mews, a lightweight, geo-distributed, S3-compatible object store.
#[derive(FromArgs, Debug)]
#[argh(
    example = "Put load on the store that `mewsd quickstart` has started here:\n  {command_name} bench put --size 1KiB --connections 64",
    error_code(0, "Done."),
    error_code(1, "Failed; the message says what to do."),
    error_code(2, "The command line makes no sense.")
)]
struct TopLevel {
    /// print the version and exit
    #[argh(switch)]
    version: bool,
    /// where the Admin API is (default: MEWS_ADMIN_URL, or http://127.0.0.1:3903)
    #[argh(option)]
    admin: Option<String>,
    /// the admin token (default: MEWS_ADMIN_TOKEN, or what is in --dir)
    #[argh(option)]
    token: Option<String>,
    /// where `mewsd quickstart` keeps its store (default ./mews-data)
    #[argh(option, default = "String::from(\"./mews-data\")")]
    dir: String,
    /// print JSON instead of a table
    #[argh(switch)]
    json: bool,
    #[argh(subcommand)]
    command: Option<Command>,
}

#[derive(FromArgs, Debug)]
#[argh(subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one of it in the life of a process")]
enum Command {
    Status(admin::args::Status),
    Health(admin::args::Health),
    Stats(admin::args::Stats),
    Node(admin::args::Node),
    Layout(admin::args::Layout),
    Repair(admin::args::Repair),
    Worker(admin::args::Worker),
    Block(admin::args::Block),
    JsonApi(admin::args::JsonApi),
    Metrics(metrics::Metrics),
    Bench(bench::Args),
    Doctor(doctor::Args),
}

fn main() -> ExitCode {
    let mut words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let program = words.next().unwrap_or_else(|| "mews".to_owned());
    let program = program.rsplit('/').next().unwrap_or("mews").to_owned();
    let words = globals_first(words.collect());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let misused = |reason: &str| {
        let hint = format!("Run `{program} --help` for what is understood.");
        say(&mut std::io::stderr(), &format!("{program}: {}\n{hint}\n", reason.trim_end()), USAGE)
    };
    match TopLevel::from_args(&[&program], &words) {
        Err(exit) if exit.status.is_ok() => say(&mut std::io::stdout(), &exit.output, DONE),
        Err(exit) => misused(&exit.output),
        Ok(TopLevel { version: true, .. }) => {
            let text = format!("{program} {}\n", env!("CARGO_PKG_VERSION"));
            say(&mut std::io::stdout(), &text, DONE)
        }
        Ok(TopLevel { command: None, .. }) => misused("say what to do, for example `status`"),
        Ok(TopLevel { command: Some(Command::Metrics(args)), .. }) => {
            say(&mut std::io::stdout(), &metrics::text(&args), DONE)
        }
        Ok(TopLevel { command: Some(Command::Bench(args)), .. }) => {
            ended(&program, bench::run(args))
        }
        Ok(TopLevel { command: Some(Command::Doctor(args)), .. }) => {
            ended(&program, doctor::run(args))
        }
        Ok(TopLevel { command: Some(command), admin, token, dir, json, .. }) => {
            let target = admin::Target { url: admin, token, dir };
            match operate(command, target) {
                Ok(done) => {
                    let (text, failed) = done.outcome(json);
                    let code = if failed.is_some() { FAILED } else { DONE };
                    if let Some(reason) = failed.filter(|reason| !reason.is_empty()) {
                        // The exit code says it, too.
                        let _unheard = writeln!(std::io::stderr(), "{program}: {reason}");
                    }
                    say(&mut std::io::stdout(), &text, code)
                }
                Err(admin::Failure::Usage(reason)) => misused(&reason),
                Err(admin::Failure::Failed(reason)) => {
                    say(&mut std::io::stderr(), &format!("{program}: {reason}\n"), FAILED)
                }
            }
        }
    }
}

/// The exit code of a command that has printed what it found.
fn ended(program: &str, result: Result<(), bench::Failure>) -> ExitCode {
    let (text, code) = match result {
        Ok(()) => return ExitCode::from(DONE),
        Err(bench::Failure::Usage(reason)) => {
            let hint = format!("Run `{program} --help` for what is understood.");
            (format!("{program}: {}\n{hint}\n", reason.trim_end()), USAGE)
        }
        Err(bench::Failure::Failed(reason)) => (format!("{program}: {reason}\n"), FAILED),
    };
    say(&mut std::io::stderr(), &text, code)
}

/// Does what an operator asks.
fn operate(command: Command, target: admin::Target) -> Result<admin::Done, admin::Failure> {
    let client = admin::Client::new(target)?;
    match command {
        Command::Status(_) => admin::status(&client),
        Command::Health(args) => admin::health(&client, &args),
        Command::Stats(_) => admin::stats(&client),
        Command::Node(args) => admin::node(&client, args),
        Command::Layout(args) => admin::layout(&client, args),
        Command::Repair(args) => admin::repair(&client, &args),
        Command::Worker(args) => admin::worker(&client, args),
        Command::Block(args) => admin::block(&client, args),
        Command::JsonApi(args) => admin::json_api(&client, &args),
        Command::Bench(_) | Command::Doctor(_) | Command::Metrics(_) => {
            Err(admin::Failure::Usage("this command does not use the Admin API".to_owned()))
        }
    }
}

/// Moves the options that every command has to the front, where `argh` looks for them: people write them anywhere. Those of
/// `bench` and `doctor` are their own.
fn globals_first(words: Vec<String>) -> Vec<String> {
    if words.iter().any(|word| word == "bench" || word == "doctor") {
        return words;
    }
    let (mut front, mut rest) = (Vec::new(), Vec::new());
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--json" => front.push(word),
            "--admin" | "--token" | "--dir" => {
                front.push(word);
                front.extend(words.next());
            }
            _ => rest.push(word),
        }
    }
    front.extend(rest);
    front
}

/// Writes a text and gives the exit code: 1 if it could not be written.
fn say(to: &mut impl Write, text: &str, code: u8) -> ExitCode {
    let written = to.write_all(text.as_bytes()).and_then(|()| to.flush());
    ExitCode::from(if written.is_ok() { code } else { FAILED })
}
