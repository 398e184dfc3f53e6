//! The manual and what shells complete, both made of what `--help` is made of.

mod complete;
mod roff;
#[cfg(test)]
mod tests;

use std::{path::Path, str::FromStr};

use argh::{ArgsInfo, CommandInfoWithArgs, FromArgs};

pub use complete::{ASKED_BY_SHELLS, complete};

use crate::command::TopLevel;

/// Print what lets a shell complete commands, options, and names of buckets, keys and nodes.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "completions",
    example = "  {command_name} bash > ~/.local/share/bash-completion/completions/mews\n  {command_name} zsh > ~/.zfunc/_mews        # a folder in $fpath\n  {command_name} fish > ~/.config/fish/completions/mews.fish"
)]
pub struct Completions {
    /// bash, zsh or fish
    #[argh(positional)]
    pub shell: Shell,
}

/// Print the manual page of the program or of a command, for `man -l -`.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "man",
    example = "  {command_name} layout assign | man -l -\n  {command_name} --write /usr/local/share/man/man1"
)]
pub struct Man {
    /// the command (default: the program)
    #[argh(positional)]
    pub command: Vec<String>,
    /// write all pages into this folder, a file each
    #[argh(option, arg_name = "dir")]
    pub write: Option<String>,
}

/// A shell that completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// Bourne again.
    Bash,
    /// Z.
    Zsh,
    /// The friendly one.
    Fish,
}

impl Shell {
    /// All, as they are called.
    pub const ALL: [(&'static str, Self); 3] =
        [("bash", Self::Bash), ("zsh", Self::Zsh), ("fish", Self::Fish)];
}

impl FromStr for Shell {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.iter().find(|(name, _)| *name == text);
        known.map(|(_, shell)| *shell).ok_or_else(|| "there are bash, zsh and fish".to_owned())
    }
}

/// `mews completions`. The scripts know no commands: they ask this program.
pub fn script(args: &Completions) -> String {
    match args.shell {
        Shell::Bash => include_str!("complete.bash").to_owned(),
        Shell::Zsh => include_str!("complete.zsh").to_owned(),
        Shell::Fish => include_str!("complete.fish").to_owned(),
    }
}

/// `mews man`.
pub fn man(args: &Man) -> Result<String, String> {
    let top = TopLevel::get_args_info();
    let words: Vec<&str> = args.command.iter().map(String::as_str).collect();
    let all = pages(&top);
    let Some(dir) = &args.write else {
        let page = all.into_iter().find(|page| page.names == words);
        let page = page.ok_or_else(|| {
            format!("there is no command `mews {}`; see `mews --help`", words.join(" "))
        })?;
        return Ok(roff::page(&page.names, page.command, &top));
    };
    for page in &all {
        let path = Path::new(dir).join(format!("{}.1", file(&page.names)));
        std::fs::write(&path, roff::page(&page.names, page.command, &top))
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(format!("{} pages written to {dir}.\n", all.len()))
}

/// A command and how one gets to it.
struct Page<'a> {
    names: Vec<&'a str>,
    command: &'a CommandInfoWithArgs,
}

/// The program and every command.
fn pages(top: &CommandInfoWithArgs) -> Vec<Page<'_>> {
    let mut pages = vec![Page { names: Vec::new(), command: top }];
    let mut next = 0;
    while let Some(Page { names, command }) = pages.get(next) {
        let names = names.clone();
        let below = command.commands.iter().map(|sub| {
            let names = [&names[..], &[sub.name]].concat();
            Page { names, command: &sub.command }
        });
        let below: Vec<Page<'_>> = below.collect();
        pages.extend(below);
        next += 1;
    }
    pages
}

/// The name of a command's file, without its ending.
fn file(names: &[&str]) -> String {
    [&["mews"], names].concat().join("-")
}
