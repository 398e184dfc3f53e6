//! The reference of all options, printed from the table that the parser goes by.

use std::fmt::Write;

use super::keys::{ADMIN, DATA_DIR, Elsewhere, Fallback, Key, S3_API, S3_WEB, TOP};

/// What precedes the options.
const INTRODUCTION: &str = "\
# Configuration

`mewsd serve --config mews.toml` (and `mewsd-smol`, with the same file) goes by these options; `mewsd check --config mews.toml` says
everything that is wrong with a file and starts nothing. The file is TOML. A key that is not listed here stops the start, and the
message names the nearest one. Sizes: `\"2T\"` is 2 x 1000^4 bytes, `\"2TiB\"` 2 x 1024^4.

A secret stands in the file, in a file of its own (`KEY_file`) or in the environment (`MEWS_KEY`, or the name of a file in
`MEWS_KEY_FILE`), which comes first. A file with a secret that everybody can read is refused.

This text is what `mewsd config-reference` prints.
";

/// What is set outside the file only.
const ENVIRONMENT: [(&str, &str, &str); 1] = [(
    "MEWS_LOG",
    "`info`",
    "How much is logged: `off`, `error`, `warn`, `info`, `debug` or `trace`.",
)];

/// Every option with its forms, its default, its meaning and an example, as Markdown.
pub fn reference() -> String {
    let mut text = INTRODUCTION.to_owned();
    for section in [&TOP, &DATA_DIR, &S3_API, &S3_WEB, &ADMIN] {
        let title = match section.name {
            "" => "Top of the file".to_owned(),
            name if name == DATA_DIR.name => format!("`{name}`"),
            name => format!("`[{name}]`"),
        };
        paragraph(&mut text, &format!("## {title}"));
        paragraph(&mut text, section.about);
        let options = section.keys.iter().filter(|key| !key.meaning.is_empty());
        options.for_each(|key| option(&mut text, key));
    }
    paragraph(&mut text, "## Only in the environment");
    for (name, default, meaning) in ENVIRONMENT {
        paragraph(&mut text, &format!("### `{name}`"));
        paragraph(&mut text, meaning);
        paragraph(&mut text, &format!("Default: {default}."));
    }
    text
}

fn option(text: &mut String, key: &Key) {
    let Key { name, default, meaning, example, source } = key;
    let upper = name.to_ascii_uppercase();
    let title = match source {
        Elsewhere::Secret => format!("### `{name}`, `{name}_file`"),
        Elsewhere::No | Elsewhere::Environment(_) => format!("### `{name}`"),
    };
    paragraph(text, &title);
    paragraph(text, meaning);
    let default = match default {
        Fallback::Value(value) => format!("Default: `{value}`."),
        Fallback::Words(words) => format!("Default: {words}."),
        Fallback::Required => "Required.".to_owned(),
    };
    let environment = match source {
        Elsewhere::No => String::new(),
        Elsewhere::Secret => format!(" Environment: `MEWS_{upper}`, `MEWS_{upper}_FILE`."),
        Elsewhere::Environment(variable) => format!(" Environment: `{variable}`."),
    };
    paragraph(text, &format!("{default}{environment}"));
    paragraph(text, &format!("```toml\n{name} = {example}\n```"));
}

/// Adds a paragraph. Lines are as long as they are: whoever shows Markdown breaks them.
fn paragraph(text: &mut String, paragraph: &str) {
    // Writing to a text cannot fail.
    let _infallible = write!(text, "\n{paragraph}\n");
}

#[cfg(test)]
mod tests {
    use super::{
        super::{keys::Section, tests::Machine},
        *,
    };

    const GOLDEN: &str = include_str!("../../../CONFIGURATION.md");

    /// A file with this in its place, and what else there must be.
    fn file(section: &Section, assignment: &str) -> String {
        let starts = |name: &str| section.name.is_empty() && assignment.starts_with(name);
        let meta = if starts("metadata_dir") { "" } else { "metadata_dir = \"meta\"\n" };
        let dirs = section.name == DATA_DIR.name;
        let data = if starts("data_dir") || dirs { "" } else { "data_dir = \"data\"\n" };
        let path = if assignment.starts_with("path") { "" } else { "path = \"data\"" };
        let both = if path.is_empty() || assignment.is_empty() { "" } else { ", " };
        match section.name {
            "" => format!("{meta}{data}{assignment}\n"),
            "data_dir" => format!("{meta}data_dir = [{{ {path}{both}{assignment} }}]\n"),
            name => format!("{meta}{data}[{name}]\n{assignment}\n"),
        }
    }

    fn options() -> impl Iterator<Item = (&'static Section, &'static Key)> {
        let sections: [&'static Section; 4] = [&TOP, &DATA_DIR, &S3_API, &ADMIN];
        let all = sections.into_iter().flat_map(|s| s.keys.iter().map(move |key| (s, key)));
        all.filter(|(_, key)| !key.meaning.is_empty())
    }

    #[test]
    fn the_reference_in_the_repository_is_what_is_printed() {
        let printed = reference();
        for (line, golden) in printed.lines().zip(GOLDEN.lines()) {
            assert_eq!(line, golden, "write `mewsd config-reference` to core/CONFIGURATION.md");
        }
        assert_eq!(printed.len(), GOLDEN.len());
    }

    #[test]
    fn every_example_is_read_and_changes_something_or_is_the_default() {
        let machine = Machine::with_files();
        for (section, key) in options() {
            let read = |text: &str| match machine.read(text, 0o600) {
                Ok(checked) => format!("{:?}", checked.setup),
                Err(problems) => panic!("{}: {problems}\n{text}", key.name),
            };
            let with = read(&file(section, &format!("{} = {}", key.name, key.example)));
            let is_default = match key.default {
                Fallback::Value(value) => value == key.example,
                Fallback::Words(_) => false,
                Fallback::Required => continue,
            };
            let without = read(&file(section, ""));
            assert_eq!(with == without, is_default, "{}", key.name);
        }
    }

    #[test]
    fn every_default_is_what_is_taken_for_a_missing_key() {
        let machine = Machine::with_files();
        for (section, key) in options() {
            let Fallback::Value(value) = key.default else { continue };
            let read = |text: &str| match machine.read(text, 0o600) {
                Ok(checked) => (format!("{:?}", checked.setup), checked.notes),
                Err(problems) => panic!("{}: {problems}\n{text}", key.name),
            };
            let said = read(&file(section, &format!("{} = {value}", key.name)));
            assert_eq!(said, read(&file(section, "")), "{}", key.name);
        }
    }
}
