//! The parameters in a request's path.

use percent_encoding::percent_decode;

use super::{call::Call, error::Error};

/// What a request's query says: only parameters that its call takes, each once, none empty. Whatever else it said would be
/// ignored, and whoever wrote it meant something by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the query of a request for `call`.
    pub fn parse(call: Call, text: &[u8]) -> Result<Self, Error> {
        Self::of(call.name(), call.parameters(), text)
    }

    /// The same for what is called `name` and takes these parameters.
    pub fn of(name: &str, taken: &[&str], text: &[u8]) -> Result<Self, Error> {
        let mut found: Vec<(String, String)> = Vec::new();
        for pair in text.split(|b| *b == b'&').filter(|pair| !pair.is_empty()) {
            let at = pair.iter().position(|b| *b == b'=').unwrap_or(pair.len());
            let (key, value) = (decoded(&pair[..at]), decoded(pair.get(at + 1..).unwrap_or(&[])));
            if !taken.contains(&&*key) {
                return Err(Error::bad(match taken {
                    [] => format!("{name} takes no parameter, so no `{key}`"),
                    [one] => format!("{name} takes one parameter: `{one}`; not `{key}`"),
                    several => {
                        let several = several.join("`, `");
                        format!("{name} takes the parameters `{several}`; not `{key}`")
                    }
                }));
            }
            if value.is_empty() {
                return Err(Error::bad(format!("the parameter `{key}` is empty")));
            }
            if found.iter().any(|(known, _)| *known == key) {
                return Err(Error::bad(format!("the parameter `{key}` is given twice")));
            }
            found.push((key, value));
        }
        Ok(Self(found))
    }

    /// What it says of this one.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }

    /// The one parameter of these that is given, and its value.
    pub fn one_of(&self, names: &[&'static str]) -> Result<(&'static str, &str), Error> {
        let mut given = names.iter().filter_map(|name| Some((*name, self.get(name)?)));
        match (given.next(), given.next()) {
            (Some(one), None) => Ok(one),
            _ => {
                Err(Error::bad(format!("give just one of the parameters `{}`", names.join("`, `"))))
            }
        }
    }

    /// Whether a parameter is `true`. It is not if it is not given.
    pub fn is_set(&self, name: &str) -> Result<bool, Error> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(Error::bad(format!("`{name}` is `true` or `false`, not `{other}`"))),
        }
    }

    /// The part of a list that `offset` and `limit` ask for; at most `max` of it.
    pub fn page(&self, max: usize) -> Result<Page, Error> {
        let number = |name: &str| {
            let number = self.get(name).map(|text| text.parse::<usize>());
            number.transpose().map_err(|_| Error::bad(format!("`{name}` is a whole number")))
        };
        let offset = number("offset")?.unwrap_or_default();
        let limit = number("limit")?.unwrap_or(max);
        if limit > max {
            return Err(Error::bad(format!("`limit` is at most {max}")));
        }
        Ok(Page { offset, limit })
    }

    /// The same of one that is needed.
    pub fn need(&self, name: &str) -> Result<&str, Error> {
        self.get(name).ok_or_else(|| Error::bad(format!("the parameter `{name}` is missing")))
    }
}

/// A part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// So many are left out.
    offset: usize,
    /// At most so many are told.
    limit: usize,
}

impl Page {
    /// The part of this list.
    pub fn of<T>(self, all: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
        all.skip(self.offset).take(self.limit)
    }
}

/// A name or a value as it was meant; `+` is a blank.
fn decoded(part: &[u8]) -> String {
    let part: Vec<u8> = part.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
    percent_decode(&part).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_ignored_is_refused() {
        let ask = |call, text: &str| Query::parse(call, text.as_bytes()).map_err(|e| e.message);
        let node = |text: &str| {
            ask(Call::GetNodeInfo, text).map(|query| query.get("node").map(str::to_owned))
        };
        assert_eq!(node(""), Ok(None));
        assert_eq!(node("node=*"), Ok(Some("*".to_owned())));
        assert_eq!(node("&node=a%20b+c&"), Ok(Some("a b c".to_owned())));
        for text in ["nodes=*", "node=", "node", "node=1&node=2", "node=1&id=2"] {
            assert!(node(text).is_err(), "{text}");
        }
        assert!(ask(Call::GetClusterStatus, "").is_ok());
        let refused = ask(Call::GetClusterStatus, "node=*").expect_err("it takes none");
        assert!(refused.contains("takes no parameter"), "{refused}");
        let refused = ask(Call::GetAdminTokenInfo, "name=x").expect_err("it takes others");
        assert!(refused.contains("`id`, `search`; not `name`"), "{refused}");
        let query = ask(Call::DeleteAdminToken, "").expect("nothing is given");
        assert!(query.need("id").is_err_and(|error| error.message.contains("`id` is missing")));
    }
}
