//! `mews`: the command line of Mews. So far, the load generator.

mod bench;

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
    #[argh(subcommand)]
    command: Option<Command>,
}

#[derive(FromArgs, Debug)]
#[argh(subcommand)]
enum Command {
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let mut words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let program = words.next().unwrap_or_else(|| "mews".to_owned());
    let program = program.rsplit('/').next().unwrap_or("mews").to_owned();
    let words: Vec<String> = words.collect();
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
        Ok(TopLevel { command: None, .. }) => misused("say what to do, for example `bench`"),
        Ok(TopLevel { command: Some(Command::Bench(args)), .. }) => match bench::run(args) {
            Ok(()) => ExitCode::from(DONE),
            Err(bench::Failure::Usage(reason)) => misused(&reason),
            Err(bench::Failure::Failed(reason)) => {
                say(&mut std::io::stderr(), &format!("{program}: {reason}\n"), FAILED)
            }
        },
    }
}

/// Writes a text and gives the exit code: 1 if it could not be written.
fn say(to: &mut impl Write, text: &str, code: u8) -> ExitCode {
    let written = to.write_all(text.as_bytes()).and_then(|()| to.flush());
    ExitCode::from(if written.is_ok() { code } else { FAILED })
}
