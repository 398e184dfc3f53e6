//! What may come next on a command line.

use std::time::Duration;

use argh::{ArgsInfo, CommandInfoWithArgs, FlagInfo, FlagInfoKind, Optionality};
use mews_core::admin::call::Call;

use super::Shell;
use crate::{
    admin::{self, Client, Named, Target},
    command::TopLevel,
    words::{self, Path},
};

/// The word before the words that a shell asks about.
pub const ASKED_BY_SHELLS: &str = "__complete";

/// Nobody waits longer for a name.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Something whose name may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thing {
    Bucket,
    Key,
    Node,
    Token,
}

/// What may come next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// One of these words, each with what it means.
    Words(Vec<(String, String)>),
    /// The name of something that there is.
    Name(Thing),
    /// The name of a file.
    File,
}

/// What may stand in place of the last of these words, for a shell: in the first line `files` if the name of a file may, else
/// `words`; then a line for each word, with what it means after a tab.
pub fn complete(words: &[String]) -> String {
    let Some((last, before)) = words.split_last() else { return "words\n".to_owned() };
    let top = TopLevel::get_args_info();
    let candidates = match next(&top, before, last) {
        Next::Words(words) => words,
        Next::Name(thing) => names(thing, target(&top, before)),
        Next::File => return "files\n".to_owned(),
    };
    let fitting = candidates.iter().filter(|(word, _)| word.starts_with(last.as_str()));
    let line = |(word, meaning): &(String, String)| format!("{word}\t{meaning}\n");
    ["words\n".to_owned()].into_iter().chain(fitting.map(line)).collect()
}

fn next(top: &CommandInfoWithArgs, before: &[String], last: &str) -> Next {
    let path = words::follow(top, before);
    if let Some(FlagInfo { kind: FlagInfoKind::Option { arg_name }, .. }) = path.open {
        return by_name(arg_name);
    }
    if path.unknown.is_some() {
        return Next::Words(Vec::new());
    }
    if last.starts_with('-') {
        return flags(top, &path);
    }
    if !path.command.commands.is_empty() {
        let meaning = |text: &str| first_sentence(text).to_owned();
        let words = path.command.commands.iter();
        let words = words.map(|sub| (sub.name.to_owned(), meaning(sub.command.description)));
        return Next::Words(words.collect());
    }
    let positionals = path.command.positionals;
    let repeated = positionals.last().filter(|last| last.optionality == Optionality::Repeating);
    match positionals.get(path.positionals).or(repeated) {
        Some(positional) => by_name(positional.name),
        None => flags(top, &path),
    }
}

fn first_sentence(text: &str) -> &str {
    text.split_once(". ").map_or(text, |(first, _)| first).trim_end_matches('.')
}

fn flags(top: &CommandInfoWithArgs, path: &Path<'_>) -> Next {
    let all = path.command.flags.iter().chain(words::globals(top, path.command));
    let all = all.filter(|flag| !flag.hidden);
    Next::Words(all.map(|flag| (flag.long.to_owned(), flag.description.to_owned())).collect())
}

/// What an argument of this name may be.
fn by_name(name: &str) -> Next {
    let plain = |words: &mut dyn Iterator<Item = &str>| {
        Next::Words(words.map(|word| (word.to_owned(), String::new())).collect())
    };
    match name {
        "bucket" => Next::Name(Thing::Bucket),
        "key" => Next::Name(Thing::Key),
        "token" => Next::Name(Thing::Token),
        "node" | "old" | "new" => Next::Name(Thing::Node),
        "shell" => plain(&mut Shell::ALL.iter().map(|(name, _)| *name)),
        "call" => plain(&mut Call::ALL.iter().map(|call| call.name())),
        "repair" => plain(&mut admin::repair::KINDS.iter().map(|(name, _)| *name)),
        "file" | "dir" => Next::File,
        _ => Next::Words(Vec::new()),
    }
}

/// How the Admin API is found with the options that are on the command line already.
fn target(top: &CommandInfoWithArgs, before: &[String]) -> Target {
    let value = |name: &str| {
        let at = before.iter().position(|word| word == name);
        at.and_then(|at| before.get(at + 1)).cloned()
    };
    debug_assert!(
        ["--admin", "--token", "--dir"]
            .iter()
            .all(|name| top.flags.iter().any(|flag| flag.long == *name))
    );
    Target { url: value("--admin"), token: value("--token"), dir: value("--dir") }
}

/// Names that there are; none if nobody answers.
fn names(thing: Thing, target: Target) -> Vec<(String, String)> {
    let Ok(client) = Client::new(target) else { return Vec::new() };
    let client = client.hasty(PATIENCE);
    let found = match thing {
        Thing::Bucket => admin::buckets(&client),
        Thing::Key => admin::keys(&client),
        Thing::Token => admin::tokens(&client),
        Thing::Node => client.get("GetClusterStatus", &[]).map(|status| admin::nodes_of(&status)),
    };
    found.unwrap_or_default().into_iter().flat_map(|it| shown(thing, it)).collect()
}

/// Each name that something has, with its id.
fn shown(thing: Thing, Named { id, names }: Named) -> Vec<(String, String)> {
    if thing == Thing::Node || names.is_empty() {
        // A host may run several nodes.
        return vec![(id, names.into_iter().next().unwrap_or_default())];
    }
    names.into_iter().map(|name| (name, id.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next_after(line: &str) -> Next {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let last = words.pop().expect("a word");
        next(&TopLevel::get_args_info(), &words, &last)
    }

    fn words_after(line: &str) -> Vec<String> {
        let Next::Words(words) = next_after(line) else { panic!("{line}") };
        words.into_iter().map(|(word, _)| word).collect()
    }

    #[test]
    fn commands_options_and_names_come_where_they_may_stand() {
        assert!(words_after("").contains(&"layout".to_owned()));
        assert_eq!(words_after("layout ")[..2], ["show", "assign"]);
        assert_eq!(words_after("--json layout ")[..2], ["show", "assign"]);
        assert!(words_after("layout assign -").contains(&"--zone".to_owned()));
        assert!(words_after("layout assign -").contains(&"--admin".to_owned()));
        assert_eq!(next_after("layout assign "), Next::Name(Thing::Node));
        assert_eq!(next_after("worker list --node "), Next::Name(Thing::Node));
        assert_eq!(next_after("--dir "), Next::File);
        assert_eq!(words_after("completions "), ["bash", "zsh", "fish"]);
        assert!(words_after("json-api ").contains(&"GetClusterHealth".to_owned()));
        assert!(words_after("repair ").contains(&"scrub".to_owned()));
        assert_eq!(words_after("layout frobnicate "), [""; 0]);
    }

    #[test]
    fn a_shell_gets_a_line_for_each() {
        let asked = ["layout", "s"].map(str::to_owned);
        let expected = "words\n\
            show\tThe layout in force, and what is staged\n\
            skip-dead-nodes\tNo longer wait for nodes that are dead for good: those named, or all that have been down for a minute\n";
        assert_eq!(complete(&asked), expected);
        assert_eq!(complete(&["--dir".to_owned(), String::new()]), "files\n");
        assert_eq!(complete(&[]), "words\n");
    }
}
