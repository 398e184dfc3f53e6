//! Secrets: in the file, in a file of their own, or in the environment; never where everybody can read them.

use super::{
    Source,
    keys::full,
    reader::{At, Reader, Table},
};

/// A file that a secret is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFile {
    /// What it holds.
    pub text: String,
    /// Its permission bits.
    pub mode: u32,
}

/// Others than owner and group may read, write or enter.
const OTHERS: u32 = 0o007;

/// Where the environment allows secrets that everybody can read.
pub(super) const ALLOW: &str = "MEWS_ALLOW_WORLD_READABLE_SECRETS";

/// Reads secrets by one set of rules.
pub(super) struct Secrets<'a> {
    pub source: &'a Source<'a>,
    /// Whether `allow_world_readable_secrets` is set.
    pub allow: bool,
}

impl Secrets<'_> {
    /// The secret of `key`: by `MEWS_KEY` or `MEWS_KEY_FILE` if one of them is set; or else by `key` or `key_file`.
    pub fn read(
        &self,
        reader: &mut Reader<'_>,
        table: Option<Table<'_, '_>>,
        key: &str,
    ) -> Option<String> {
        let inline = table.and_then(|table| reader.string(table, key));
        let by_file = table.and_then(|table| reader.string(table, &format!("{key}_file")));
        let name = format!("MEWS_{}", key.to_ascii_uppercase());
        let name_file = format!("{name}_FILE");
        let set = |name: &str| (self.source.env)(name).filter(|value| !value.is_empty());
        match (set(&name), set(&name_file)) {
            (Some(_), Some(_)) => {
                reader.lacks(format!("{name} and {name_file} are both set; unset one of them"));
                return None;
            }
            (Some(value), None) => return Some(value),
            (None, Some(path)) => {
                return self
                    .file(&path)
                    .map_err(|why| reader.lacks(format!("{name_file}: {why}")))
                    .ok();
            }
            (None, None) => {}
        }
        let name = table.map_or_else(|| key.to_owned(), |table| full(table.section, key));
        match (inline, by_file) {
            (Some(inline), Some(_)) => {
                reader.wrong(
                    inline.line,
                    format!("{name} and {key}_file are both there; keep one of them"),
                );
                None
            }
            (Some(At { line, value }), None) => {
                if self.exposed(self.source.mode) {
                    let (path, mode) = (self.source.path, self.source.mode & 0o777);
                    reader.wrong(line, format!(
                        "everybody can read {path} (mode {mode:04o}), and {name} is in it: chmod 600 {path}, or use {key}_file"
                    ));
                }
                Some(value)
            }
            (None, Some(At { line, value })) => self
                .file(&value)
                .map_err(|why| reader.wrong(line, format!("{name}_file: {why}")))
                .ok(),
            (None, None) => None,
        }
    }

    fn exposed(&self, mode: u32) -> bool {
        mode & OTHERS != 0 && !self.allow
    }

    fn file(&self, path: &str) -> Result<String, String> {
        let SecretFile { text, mode } =
            (self.source.file)(path).map_err(|why| format!("cannot read {path}: {why}"))?;
        if self.exposed(mode) {
            let mode = mode & 0o777;
            return Err(format!("everybody can read {path} (mode {mode:04o}): chmod 600 {path}"));
        }
        // Editors and `echo` end a file with a line's end, which nobody means.
        match text.trim_end_matches(['\r', '\n']) {
            "" => Err(format!("{path} is empty")),
            secret => Ok(secret.to_owned()),
        }
    }
}
