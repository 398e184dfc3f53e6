//! Values out of the file's tree, with the line of everything that is wrong.

use core::{net::SocketAddr, time::Duration};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::keys::{Section, full, unknown};
use crate::{size, span};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The line of the file, from 1 on; none for what is missing from it or stands elsewhere.
    pub line: Option<usize>,
    /// What is wrong, and what to do.
    pub text: String,
}

/// The file being read. Mistakes are collected, not returned: whoever reads a file wants to know all of them.
pub(super) struct Reader<'a> {
    text: &'a str,
    pub problems: Vec<Problem>,
}

/// A table of the file.
#[derive(Clone, Copy)]
pub(super) struct Table<'t, 'i> {
    pub section: &'static Section,
    table: &'t DeTable<'i>,
}

/// A value and where it stands.
pub(super) struct At<T> {
    pub line: usize,
    pub value: T,
}

impl<'a> Reader<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, problems: Vec::new() }
    }

    /// The whole file; None if it is no TOML.
    pub fn parse(&mut self) -> Option<DeTable<'a>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let line = error.span().map(|span| self.line(span.start));
            self.problems.push(Problem { line, text: format!("not TOML: {}", error.message()) });
        }
        errors.is_empty().then(|| table.into_inner())
    }

    fn line(&self, at: usize) -> usize {
        let before = self.text.as_bytes().iter().take(at);
        1 + before.filter(|byte| **byte == b'\n').count()
    }

    /// Something is wrong in a line.
    pub fn wrong(&mut self, line: usize, text: impl Into<String>) {
        self.problems.push(Problem { line: Some(line), text: text.into() });
    }

    /// Something is missing, or wrong elsewhere.
    pub fn lacks(&mut self, text: impl Into<String>) {
        self.problems.push(Problem { line: None, text: text.into() });
    }

    /// A table with what may stand in it; strangers are reported.
    pub fn table<'t, 'i>(
        &mut self,
        section: &'static Section,
        table: &'t DeTable<'i>,
    ) -> Table<'t, 'i> {
        for key in table.keys() {
            if !section.has(key.get_ref()) {
                let line = self.line(key.span().start);
                self.wrong(line, unknown(section, key.get_ref()));
            }
        }
        Table { section, table }
    }

    /// The table that is the value of a key.
    pub fn section<'t, 'i>(
        &mut self,
        top: Table<'t, 'i>,
        section: &'static Section,
    ) -> Option<Table<'t, 'i>> {
        let value = top.table.get(section.name)?;
        match value.get_ref().as_table() {
            Some(table) => Some(self.table(section, table)),
            None => {
                let line = self.line(value.span().start);
                self.wrong(line, format!("{0} must be a table: [{0}]", section.name));
                None
            }
        }
    }

    /// The value of a key, if `read` can make it one; else the mistake is that it `must` be something.
    fn value<'t, 'i: 't, T>(
        &mut self,
        table: Table<'t, 'i>,
        key: &str,
        must: &str,
        read: impl FnOnce(&'t DeValue<'i>) -> Option<T>,
    ) -> Option<At<T>> {
        // So that the table of keys, and the reference, has every key that is read.
        assert!(
            table.section.has(key),
            "{} is read, and in no table of keys",
            full(table.section, key)
        );
        let value = table.table.get(key)?;
        let line = self.line(value.span().start);
        let found = read(value.get_ref());
        if found.is_none() {
            self.wrong(line, format!("{} must be {must}", full(table.section, key)));
        }
        found.map(|value| At { line, value })
    }

    /// A text that is not empty.
    pub fn string(&mut self, table: Table<'_, '_>, key: &str) -> Option<At<String>> {
        let text = |value: &DeValue<'_>| value.as_str().map(str::to_owned);
        let found = self.value(table, key, "a text, in quotation marks", text)?;
        if found.value.is_empty() {
            self.wrong(found.line, format!("{} is empty", full(table.section, key)));
            return None;
        }
        Some(found)
    }

    /// Yes or no.
    pub fn bool(&mut self, table: Table<'_, '_>, key: &str) -> Option<bool> {
        Some(self.value(table, key, "true or false", DeValue::as_bool)?.value)
    }

    /// A number, or a text in place of one.
    pub fn number_or_text(
        &mut self,
        table: Table<'_, '_>,
        key: &str,
        must: &str,
    ) -> Option<At<Result<i64, String>>> {
        self.value(table, key, must, |value| match value {
            DeValue::Integer(number) => {
                i64::from_str_radix(&digits(number.as_str()), number.radix()).ok().map(Ok)
            }
            DeValue::String(text) => Some(Err(text.to_string())),
            DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => None,
        })
    }

    /// A whole number from `low` to `high`.
    pub fn number(&mut self, table: Table<'_, '_>, key: &str, low: i64, high: i64) -> Option<i64> {
        let must = format!("a whole number from {low} to {high}");
        let At { line, value } = self.number_or_text(table, key, &must)?;
        match value {
            Ok(number) if (low..=high).contains(&number) => Some(number),
            Ok(_) | Err(_) => {
                self.wrong(line, format!("{} must be {must}", full(table.section, key)));
                None
            }
        }
    }

    /// A number of bytes, as a number or as people write it.
    pub fn size(&mut self, table: Table<'_, '_>, key: &str) -> Option<At<u64>> {
        let must = "a number of bytes, such as 1048576 or \"1MiB\"";
        let At { line, value } = self.number_or_text(table, key, must)?;
        let size = match value {
            Ok(number) => u64::try_from(number).map_err(|_| "it is below zero".to_owned()),
            Err(text) => size::parse(&text),
        };
        match size {
            Ok(value) => Some(At { line, value }),
            Err(reason) => {
                self.wrong(line, format!("{}: {reason}", full(table.section, key)));
                None
            }
        }
    }

    /// A length of time from `low` to `high`, as people write it.
    pub fn span(
        &mut self,
        table: Table<'_, '_>,
        key: &str,
        (low, high): (Duration, Duration),
    ) -> Option<Duration> {
        let (least, most) = (span::show(low), span::show(high));
        let must = format!("a time from {least} to {most}, such as \"6h\" or \"1d 12h\"");
        let read = |value: &DeValue<'_>| {
            span::parse(value.as_str()?).filter(|span| (low..=high).contains(span))
        };
        Some(self.value(table, key, &must, read)?.value)
    }

    /// One of some words, and what it stands for.
    pub fn word<T: Copy>(
        &mut self,
        table: Table<'_, '_>,
        key: &str,
        words: &[(&str, T)],
    ) -> Option<T> {
        let quoted = words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>();
        let must = format!("one of {}", quoted.join(", "));
        let found = self.value(table, key, &must, |value| {
            let text = value.as_str()?;
            words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning)
        });
        found.map(|found| found.value)
    }

    /// An address to listen at.
    pub fn address(&mut self, table: Table<'_, '_>, key: &str) -> Option<At<SocketAddr>> {
        let At { line, value } = self.string(table, key)?;
        match value.parse() {
            Ok(value) => Some(At { line, value }),
            Err(_) => {
                let key = full(table.section, key);
                let must = "must be IP:PORT, such as \"0.0.0.0:3900\" or \"[::]:3900\"";
                self.wrong(line, format!("{key} {must}; it is \"{value}\""));
                None
            }
        }
    }

    /// The texts of a list.
    pub fn strings(&mut self, table: Table<'_, '_>, key: &str) -> Vec<At<String>> {
        let must = "a list of texts: [\"...\", \"...\"]";
        let Some(array) = self.value(table, key, must, DeValue::as_array) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for item in array.value.iter() {
            let line = self.line(item.span().start);
            match item.get_ref().as_str() {
                Some(text) => found.push(At { line, value: text.to_owned() }),
                None => self.wrong(line, format!("{} must be {must}", full(table.section, key))),
            }
        }
        found
    }

    /// A text, or the tables of a list.
    pub fn text_or_tables<'t, 'i>(
        &mut self,
        table: Table<'t, 'i>,
        section: &'static Section,
    ) -> Option<At<Result<String, Vec<At<Table<'t, 'i>>>>>> {
        let must =
            "a path in quotation marks, or a list: [{ path = \"...\", capacity = \"1T\" }, ...]";
        let At { line, value } = self.value(table, section.name, must, |value| match value {
            DeValue::String(text) => Some(Ok(text.to_string())),
            DeValue::Array(array) => Some(Err(array)),
            DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Table(_) => None,
        })?;
        let array = match value {
            Ok(text) => return Some(At { line, value: Ok(text) }),
            Err(array) => array,
        };
        let tables = array.iter().filter_map(|item: &Spanned<DeValue<'i>>| {
            let line = self.line(item.span().start);
            match item.get_ref().as_table() {
                Some(table) => Some(At { line, value: self.table(section, table) }),
                None => {
                    self.wrong(line, format!("{} must be {must}", section.name));
                    None
                }
            }
        });
        let tables = tables.collect();
        Some(At { line, value: Err(tables) })
    }
}

/// A number's digits, as the standard library reads them.
fn digits(text: &str) -> String {
    text.chars().filter(|c| *c != '_').collect()
}
