//! The words of a command line, before `argh` reads them.

use argh::{ArgsInfo, CommandInfoWithArgs, EarlyExit, FlagInfo, FlagInfoKind, FromArgs};
use mews_core::spelling;

use crate::command::TopLevel;

/// Where the words of a command line lead.
pub struct Path<'a> {
    /// The names of the commands, without the program's.
    pub names: Vec<&'a str>,
    /// The last of them.
    pub command: &'a CommandInfoWithArgs,
    /// How many words after it are no options.
    pub positionals: usize,
    /// The option whose value comes next.
    pub open: Option<&'a FlagInfo<'static>>,
    /// A word that should be a command and is none.
    pub unknown: Option<String>,
}

/// Reads a command line; `Err` is a text to print, and whether it is what was asked for.
pub fn parse(program: &str, words: Vec<String>) -> Result<TopLevel, EarlyExit> {
    let top = TopLevel::get_args_info();
    let words = separate(words);
    let path = follow(&top, &words);
    if let Some(word) = &path.unknown {
        return Err(EarlyExit::from(unknown(program, &path, word)));
    }
    let ordered = globals_first(&top, path.command, &words);
    let ordered: Vec<&str> = ordered.iter().map(String::as_str).collect();
    let asks_help = ordered.iter().any(|word| matches!(*word, "--help" | "help"));
    let lacks_command = !path.command.commands.is_empty() && !path.names.is_empty();
    if lacks_command && !asks_help {
        return Err(EarlyExit::from(choose(program, &path)));
    }
    TopLevel::from_args(&[program], &ordered).map_err(|exit| match exit.status {
        Ok(()) => EarlyExit { output: exit.output + &everywhere(&top, &path), status: Ok(()) },
        Err(()) => exit,
    })
}

/// Writes `--name=value` as two words, as other programs of GNU's style understand it.
fn separate(words: Vec<String>) -> Vec<String> {
    let mut ended = false;
    let mut separated = Vec::new();
    for word in words {
        ended |= word == "--";
        match word.split_once('=').filter(|_| !ended && word.starts_with("--")) {
            Some((name, value)) => separated.extend([name.to_owned(), value.to_owned()]),
            None => separated.push(word),
        }
    }
    separated
}

fn flag<'a>(command: &'a CommandInfoWithArgs, word: &str) -> Option<&'a FlagInfo<'static>> {
    let short = |flag: &FlagInfo<'_>| flag.short.is_some_and(|short| word == format!("-{short}"));
    command.flags.iter().find(|flag| flag.long == word || short(flag))
}

fn takes_value(flag: &FlagInfo<'_>) -> bool {
    matches!(flag.kind, FlagInfoKind::Option { .. })
}

/// Follows a command line from command to command.
pub fn follow<'a>(top: &'a CommandInfoWithArgs, words: &[String]) -> Path<'a> {
    let mut path =
        Path { names: Vec::new(), command: top, positionals: 0, open: None, unknown: None };
    let mut ended = false;
    for word in words {
        if path.open.take().is_some() {
            continue;
        }
        if !ended && word.len() > 1 && word.starts_with('-') {
            ended = word == "--";
            let known = flag(path.command, word).or_else(|| flag(top, word));
            path.open = known.filter(|flag| takes_value(flag));
            continue;
        }
        match path.command.commands.iter().find(|command| command.name == word) {
            Some(found) => {
                path.names.push(found.name);
                path.command = &found.command;
            }
            None if path.command.commands.is_empty() => path.positionals += 1,
            None if word == "help" => return path,
            None => {
                path.unknown = Some(word.clone());
                return path;
            }
        }
    }
    path
}

fn line(program: &str, path: &Path<'_>) -> String {
    [&[program], &path.names[..]].concat().join(" ")
}

fn unknown(program: &str, path: &Path<'_>, word: &str) -> String {
    let line = line(program, path);
    let names = path.command.commands.iter().map(|command| command.name);
    match spelling::probable(names, word) {
        Some(name) => format!("there is no command `{line} {word}`; is `{line} {name}` meant?"),
        None => format!("there is no command `{line} {word}`. {}", choose(program, path)),
    }
}

fn choose(program: &str, path: &Path<'_>) -> String {
    let names: Vec<&str> = path.command.commands.iter().map(|command| command.name).collect();
    format!("after `{}` comes one of: {}", line(program, path), names.join(", "))
}

/// The options that every command has, unless it has one of that name for itself.
pub fn globals<'a>(
    top: &'a CommandInfoWithArgs,
    command: &'a CommandInfoWithArgs,
) -> impl Iterator<Item = &'a FlagInfo<'static>> {
    let own = move |long: &str| command.flags.iter().any(|flag| flag.long == long);
    let here = move |flag: &&FlagInfo<'_>| flag.long != "--version" && !own(flag.long);
    top.flags.iter().filter(here)
}

/// What a command's help says of the options that it shares with all others.
fn everywhere(top: &CommandInfoWithArgs, path: &Path<'_>) -> String {
    let names: Vec<&str> = globals(top, path.command).map(|flag| flag.long).collect();
    if path.names.is_empty() || names.is_empty() {
        return String::new();
    }
    format!("\nOptions of every command, explained by `mews --help`: {}\n", names.join(", "))
}

/// Moves the options that every command has to the front, where `argh` looks for them: people write them anywhere. A lone `-`,
/// which it would take for an option, goes to the end, behind a `--`.
fn globals_first(
    top: &CommandInfoWithArgs,
    command: &CommandInfoWithArgs,
    words: &[String],
) -> Vec<String> {
    let global = |word: &String| globals(top, command).find(|flag| flag.long == word);
    let (mut front, mut rest, mut last) = (Vec::new(), Vec::new(), Vec::new());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            last.extend(words.by_ref().cloned());
        } else if let Some(flag) = global(word) {
            front.push(word.clone());
            if takes_value(flag) {
                front.extend(words.next().cloned());
            }
        } else if word == "-" || (!last.is_empty() && !word.starts_with('-')) {
            last.push(word.clone());
        } else {
            rest.push(word.clone());
            // The value of an option is no option.
            if flag(command, word).is_some_and(takes_value) {
                rest.extend(words.next().cloned());
            }
        }
    }
    front.extend(rest);
    if !last.is_empty() {
        front.push("--".to_owned());
        front.extend(last);
    }
    front
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<TopLevel, EarlyExit> {
        parse("mews", line.split(' ').map(str::to_owned).collect())
    }

    #[test]
    fn options_of_every_command_may_stand_anywhere() {
        for line in [
            "--json --admin http://h:1 status",
            "status --json --admin http://h:1",
            "status --admin=http://h:1 --json",
        ] {
            let top = parsed(line).expect(line);
            assert!(top.json && top.admin.as_deref() == Some("http://h:1"), "{line}");
        }
        let top = parsed("bench put --json --dir d").expect("bench has its own");
        assert!(!top.json && top.dir.is_none());
        let top = parsed("json-api ConnectClusterNodes -- --json").expect("it ended");
        assert!(!top.json);
        let top = parsed("layout assign n --zone --json --gateway").expect("a zone of that name");
        assert!(!top.json);
    }

    #[test]
    fn a_lone_hyphen_is_a_word_and_no_option() {
        for line in [
            "json-api ListWorkers - --node self --json",
            "json-api ListWorkers --node self -",
            "json-api --node self -- ListWorkers -",
        ] {
            let command = parsed(line).expect(line).command;
            let Some(crate::command::Command::JsonApi(args)) = command else { panic!("{line}") };
            let words = (args.call.as_str(), args.body.as_deref(), args.node.as_deref());
            assert_eq!(words, ("ListWorkers", Some("-"), Some("self")), "{line}");
        }
    }

    #[test]
    fn a_mistake_is_answered_with_what_was_probably_meant() {
        for (line, says) in [
            ("lyout show", "is `mews layout` meant?"),
            ("layout shw", "there is no command `mews layout shw`; is `mews layout show` meant?"),
            ("worker frobnicate", "after `mews worker` comes one of: list"),
            ("layout", "after `mews layout` comes one of: show, assign"),
            ("layout show --frob", "--frob"),
        ] {
            let exit = parsed(line).expect_err(line);
            assert!(exit.status.is_err() && exit.output.contains(says), "{}", exit.output);
        }
    }

    #[test]
    fn the_help_of_a_command_names_what_every_command_understands() {
        for line in ["layout assign --help", "layout --help", "layout help"] {
            let exit = parsed(line).expect_err(line);
            assert!(
                exit.status.is_ok() && exit.output.contains("--admin, --token"),
                "{}",
                exit.output
            );
        }
        let exit = parsed("bench --help").expect_err("help");
        assert!(exit.output.ends_with("--admin, --token\n"), "{}", exit.output);
    }
}
