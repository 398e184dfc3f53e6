//! A command's manual page.

use argh::{CommandInfoWithArgs, FlagInfo, FlagInfoKind, Optionality};

use crate::words::globals;

/// The page of a command, in the macros of man(7).
pub fn page(names: &[&str], command: &CommandInfoWithArgs, top: &CommandInfoWithArgs) -> String {
    let line = [&["mews"], names].concat();
    let (title, line) = (line.join("-"), line.join(" "));
    let summary = command.description.split_once(". ").map_or(command.description, |(one, _)| one);
    let mut out = format!(
        ".TH {} 1 \"\" \"mews {}\" \"Mews\"\n.SH NAME\n{} \\- {}\n",
        escape(&title.to_uppercase()),
        env!("CARGO_PKG_VERSION"),
        escape(&title),
        text(summary.trim_end_matches('.')),
    );
    out += &format!(".SH SYNOPSIS\n.B {}\n{}", escape(&line), synopsis(command));
    out += &format!(".SH DESCRIPTION\n{}\n", text(command.description));
    for positional in command.positionals.iter().filter(|positional| !positional.hidden) {
        out += &format!(".TP\n.I {}\n{}\n", escape(positional.name), text(positional.description));
    }
    out += &options("OPTIONS", command.flags.iter());
    if !names.is_empty() {
        out += &options("OPTIONS OF EVERY COMMAND", globals(top, command));
    }
    if !command.commands.is_empty() {
        out += ".SH COMMANDS\n";
        for sub in &command.commands {
            let page = format!("{title}-{}", sub.name);
            out += &format!(".TP\n.BR {} (1)\n{}\n", escape(&page), text(sub.command.description));
        }
    }
    if !command.examples.is_empty() {
        out += ".SH EXAMPLES\n";
        for example in command.examples {
            out += &format!(".PP\n.nf\n{}\n.fi\n", text(&filled(example, &line)));
        }
    }
    if !command.notes.is_empty() {
        out += ".SH NOTES\n";
        for note in command.notes {
            out += &format!(".PP\n{}\n", text(&filled(note, &line)));
        }
    }
    let codes = if command.error_codes.is_empty() { top.error_codes } else { command.error_codes };
    out += ".SH EXIT STATUS\n";
    for code in codes {
        out += &format!(".TP\n.B {}\n{}\n", code.code, text(code.description));
    }
    out
}

fn synopsis(command: &CommandInfoWithArgs) -> String {
    let mut out = String::new();
    for flag in command.flags.iter().filter(|flag| !flag.hidden && flag.long != "--help") {
        let value = match flag.kind {
            FlagInfoKind::Switch => String::new(),
            FlagInfoKind::Option { arg_name } => format!(" \\fI{}\\fR", escape(arg_name)),
        };
        let flag_text = format!("\\fB{}\\fR{value}", escape(flag.long));
        out += &match flag.optionality {
            Optionality::Required => format!("{flag_text}\n"),
            Optionality::Optional => format!("[{flag_text}]\n"),
            Optionality::Repeating | Optionality::Greedy => format!("[{flag_text}]...\n"),
        };
    }
    for positional in command.positionals.iter().filter(|positional| !positional.hidden) {
        let name = format!("\\fI{}\\fR", escape(positional.name));
        out += &match positional.optionality {
            Optionality::Required => format!("{name}\n"),
            Optionality::Optional => format!("[{name}]\n"),
            Optionality::Repeating | Optionality::Greedy => format!("[{name}...]\n"),
        };
    }
    if !command.commands.is_empty() {
        out += "\\fIcommand\\fR ...\n";
    }
    out
}

fn options<'a>(heading: &str, flags: impl Iterator<Item = &'a FlagInfo<'static>>) -> String {
    let item = |flag: &FlagInfo<'_>| {
        let short = flag.short.map(|short| format!("\\fB\\-{short}\\fR, ")).unwrap_or_default();
        let value = match flag.kind {
            FlagInfoKind::Switch => String::new(),
            FlagInfoKind::Option { arg_name } => format!(" \\fI{}\\fR", escape(arg_name)),
        };
        let name = escape(flag.long);
        format!(".TP\n{short}\\fB{name}\\fR{value}\n{}\n", text(flag.description))
    };
    let items: String = flags.filter(|flag| !flag.hidden).map(item).collect();
    if items.is_empty() { items } else { format!(".SH {heading}\n{items}") }
}

/// An example as `--help` shows it: `argh` takes both for format strings.
fn filled(text: &str, line: &str) -> String {
    text.replace("{command_name}", line).replace("{{", "{").replace("}}", "}")
}

/// A word that roff shall not read.
fn escape(word: &str) -> String {
    word.replace('\\', "\\e").replace('-', "\\-")
}

/// Lines that roff shall not read: one that begins with a full stop or a quotation mark would be an order.
fn text(lines: &str) -> String {
    let line = |line: &str| {
        let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
        format!("{guard}{}", escape(line))
    };
    lines.lines().map(line).collect::<Vec<_>>().join("\n")
}
