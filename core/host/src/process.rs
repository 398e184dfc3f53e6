//! A daemon as a process: its command line, its output, its exit code.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use mews_core::daemon::{
    args::{self, Invocation, Store},
    bounds::Bounds,
    config::Checked,
    log::Logging,
    setup::Setup,
    texts::{self, Ready},
    trouble::Trouble,
};

use crate::{
    clock::Clock,
    config::{self, ConfigError},
    logger, machine,
    place::Place,
};

/// The `main` of the daemon `name`: reads the command line, starts the log, and runs the daemon until it ends.
pub fn main(name: &str, run: impl FnOnce(&Setup, &Bounds) -> Result<(), Trouble>) -> ExitCode {
    let mut words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let program = words.next().unwrap_or_else(|| name.to_owned());
    let words: Vec<String> = words.collect();
    let variable = |name| std::env::var(name).ok();
    let (rules, form) = (variable("MEWS_LOG"), variable("MEWS_LOG_FORMAT"));
    let logging = match Logging::parse(rules.as_deref(), form.as_deref()) {
        Ok(logging) => logging,
        Err(text) => return say(&mut io::stderr(), &format!("{text}\n"), args::EXIT_USAGE),
    };
    logger::start(logging);
    let setup = match args::parse(&program, &words) {
        Invocation::Quickstart(quickstart) => Setup::from(quickstart),
        Invocation::Serve { config } => match config::read(&config) {
            Ok(Checked { setup, notes }) => {
                notes.iter().for_each(|note| log::warn!("{config}: {note}"));
                setup
            }
            Err(error) => {
                return say(&mut io::stderr(), &refused(name, &error), args::EXIT_FAILED);
            }
        },
        Invocation::Check { config } => return check(name, &config),
        Invocation::Restore { from, store } => return restore(name, &from, store),
        Invocation::Say(text) => return say(&mut io::stdout(), &text, args::EXIT_DONE),
        Invocation::Misused(text) => return say(&mut io::stderr(), &text, args::EXIT_USAGE),
    };
    match run(&setup, &machine::measure()) {
        Ok(()) => ExitCode::from(args::EXIT_DONE),
        Err(trouble) => say(&mut io::stderr(), &format!("{name}: {trouble}\n"), args::EXIT_FAILED),
    }
}

/// Puts a snapshot back.
fn restore(name: &str, from: &str, store: Store) -> ExitCode {
    let setup = match store {
        Store::Quickstart(quickstart) => Setup::from(quickstart),
        Store::Config(config) => match config::read(&config) {
            Ok(Checked { setup, .. }) => setup,
            Err(error) => {
                return say(&mut io::stderr(), &refused(name, &error), args::EXIT_FAILED);
            }
        },
    };
    let now = Clock::start().now().wall;
    match Place::existing(&setup).and_then(|place| place.restore(&setup, from, now)) {
        Ok(text) => say(&mut io::stdout(), &text, args::EXIT_DONE),
        Err(trouble) => say(&mut io::stderr(), &format!("{name}: {trouble}\n"), args::EXIT_FAILED),
    }
}

/// Says what is wrong with a configuration and with what it names, or that it is fine.
fn check(name: &str, path: &str) -> ExitCode {
    let Checked { setup, notes } = match config::read(path) {
        Ok(checked) => checked,
        Err(error) => return say(&mut io::stderr(), &refused(name, &error), args::EXIT_FAILED),
    };
    let wrong = config::check(&setup);
    if wrong.is_empty() {
        return say(&mut io::stdout(), &texts::fine(path, &notes), args::EXIT_DONE);
    }
    let lines = wrong.iter().map(|wrong| format!("{path}: {wrong}\n")).collect::<String>();
    say(&mut io::stderr(), &lines, args::EXIT_FAILED)
}

/// What is said of a configuration that cannot be used: each mistake names the file; what the file itself lacks is the daemon's to
/// say.
fn refused(name: &str, error: &ConfigError) -> String {
    match error {
        ConfigError::File(trouble) => format!("{name}: {trouble}\n"),
        ConfigError::Problems(problems) => format!("{problems}\n"),
    }
}

/// Writes a text and gives the exit code: 1 if it could not be written.
fn say(to: &mut impl Write, text: &str, code: u8) -> ExitCode {
    let written = to.write_all(text.as_bytes()).and_then(|()| to.flush());
    ExitCode::from(if written.is_ok() { code } else { args::EXIT_FAILED })
}

/// Tells the user that the store serves, and how to use it.
pub fn say_ready(ready: &Ready<'_>) {
    if let Err(error) = io::stdout().write_all(texts::ready(ready).as_bytes()) {
        log::warn!("cannot print how to use the store: {error}");
    }
}
