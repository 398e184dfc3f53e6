//! What a file asks for, read with the line of everything that is wrong with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use mews_core::{s3::date, size, spelling, time::Timestamp};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// What there shall be. What is not named stays as it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Roles, by the name of a host or the beginning of an id.
    pub nodes: BTreeMap<String, Role>,
    /// How many copies each object has.
    pub replication_factor: Option<u64>,
    /// In how many zones each object is; none of them is the maximum.
    pub zone_redundancy: Option<Option<u64>>,
    /// Access keys, by name.
    pub keys: BTreeMap<String, Key>,
    /// Buckets, by name.
    pub buckets: BTreeMap<String, Bucket>,
}

/// What a node is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// Its zone.
    pub zone: String,
    /// The bytes that it gives; none for a gateway.
    pub capacity: Option<u64>,
    /// Words for people.
    pub tags: Vec<String>,
}

/// An access key.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Key {
    /// Whether it may create buckets.
    pub create_bucket: Option<bool>,
    /// From when on it signs nothing; none within is never.
    pub expires: Option<Option<Timestamp>>,
    /// The id that it has elsewhere, and the file with its secret.
    pub import: Option<(String, PathBuf)>,
}

/// A website. What is not named stays as it is, or is as the cluster's configuration says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Site {
    /// The object that answers for a folder.
    pub index: Option<String>,
    /// The object that is shown for an error; none within is Mews's own page.
    pub error: Option<Option<String>>,
}

/// A bucket.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// Further names.
    pub aliases: Vec<String>,
    /// Names that single keys have for it; by the keys' names.
    pub local_aliases: BTreeMap<String, Vec<String>>,
    /// The most bytes; none within is no bound.
    pub max_size: Option<Option<u64>>,
    /// The most objects; none within is no bound.
    pub max_objects: Option<Option<u64>>,
    /// How it is a website; none within is not at all.
    pub website: Option<Option<Site>>,
    /// What everybody may read: objects whose keys begin so, or all if there are no beginnings; none within is nothing.
    pub public: Option<Option<BTreeSet<String>>>,
    /// What keys may do: read, write, be an owner; by their names.
    pub allow: BTreeMap<String, [bool; 3]>,
}

impl Bucket {
    /// The names of all keys that it is about.
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.allow.keys().chain(self.local_aliases.keys())
    }
}

/// What a key may be allowed, in the order of [`Bucket::allow`].
pub const PERMISSIONS: [&str; 3] = ["read", "write", "owner"];

/// Reads a file; `Err` is everything that is wrong with it.
pub fn read(text: &str) -> Result<Wanted, Vec<String>> {
    let mut reader = Reader { text, problems: Vec::new() };
    let wanted = reader.file();
    if reader.problems.is_empty() { Ok(wanted) } else { Err(reader.problems) }
}

struct Reader<'a> {
    text: &'a str,
    problems: Vec<String>,
}

type Value<'i> = Spanned<DeValue<'i>>;

impl Reader<'_> {
    fn wrong(&mut self, at: usize, what: impl std::fmt::Display) {
        let before = self.text.as_bytes().iter().take(at);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        self.problems.push(format!("line {line}: {what}"));
    }

    fn file(&mut self) -> Wanted {
        let (top, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let at = error.span().map_or(0, |span| span.start);
            self.wrong(at, format!("not TOML: {}", error.message()));
        }
        let mut wanted = Wanted::default();
        if !errors.is_empty() {
            return wanted;
        }
        let top = top.get_ref();
        self.strangers("", top, &["layout", "keys", "buckets"]);
        if let Some(layout) = self.table("layout", top.get("layout")) {
            self.layout(layout, &mut wanted);
        }
        for (name, table) in self.tables("keys", top.get("keys")) {
            let key = self.key(&name, table);
            wanted.keys.insert(name, key);
        }
        for (name, table) in self.tables("buckets", top.get("buckets")) {
            let bucket = self.bucket(&name, table);
            wanted.buckets.insert(name, bucket);
        }
        wanted
    }

    /// Reports what may not stand in a table.
    fn strangers(&mut self, at: &str, table: &DeTable<'_>, known: &[&str]) {
        for key in table.keys() {
            let name = key.get_ref().as_ref();
            if !known.contains(&name) {
                let nearest = spelling::nearest(known.iter().copied(), name).unwrap_or_default();
                let place = if at.is_empty() { String::new() } else { format!(" in [{at}]") };
                self.wrong(
                    key.span().start,
                    format!("unknown key {name}{place}: the nearest known key is {nearest}"),
                );
            }
        }
    }

    fn must(&mut self, value: &Value<'_>, name: &str, be: &str) {
        self.wrong(value.span().start, format!("{name} must be {be}"));
    }

    fn table<'t, 'i>(
        &mut self,
        name: &str,
        value: Option<&'t Value<'i>>,
    ) -> Option<&'t DeTable<'i>> {
        let value = value?;
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.must(value, name, "a table");
        }
        table
    }

    /// Tables in a table, by their names.
    fn tables<'t, 'i>(
        &mut self,
        name: &str,
        value: Option<&'t Value<'i>>,
    ) -> Vec<(String, &'t DeTable<'i>)> {
        let Some(table) = self.table(name, value) else { return Vec::new() };
        let below = table.iter().filter_map(|(key, value)| {
            let below = self.table(&format!("{name}.{}", key.get_ref()), Some(value))?;
            Some((key.get_ref().to_string(), below))
        });
        below.collect()
    }

    fn string(&mut self, name: &str, value: Option<&Value<'_>>) -> Option<String> {
        let value = value?;
        let text = value.get_ref().as_str().filter(|text| !text.is_empty());
        if text.is_none() {
            self.must(value, name, "a text, in quotation marks");
        }
        text.map(str::to_owned)
    }

    fn bool(&mut self, name: &str, value: Option<&Value<'_>>) -> Option<bool> {
        let value = value?;
        let is = value.get_ref().as_bool();
        if is.is_none() {
            self.must(value, name, "true or false");
        }
        is
    }

    fn strings(&mut self, name: &str, value: Option<&Value<'_>>) -> Vec<String> {
        let Some(value) = value else { return Vec::new() };
        let Some(list) = value.get_ref().as_array() else {
            self.must(value, name, "a list of texts");
            return Vec::new();
        };
        list.iter().filter_map(|text| self.string(name, Some(text))).collect()
    }

    /// A number, or a text that stands for one.
    fn number<T>(
        &mut self,
        name: &str,
        value: Option<&Value<'_>>,
        be: &str,
        word: impl Fn(&str) -> Option<T>,
        number: impl Fn(u64) -> T,
    ) -> Option<T> {
        let value = value?;
        let plain = value.get_ref().as_integer().and_then(|integer| integer.as_str().parse().ok());
        let found = plain.map(number).or_else(|| word(value.get_ref().as_str()?));
        if found.is_none() {
            self.must(value, name, be);
        }
        found
    }

    fn layout(&mut self, layout: &DeTable<'_>, wanted: &mut Wanted) {
        self.strangers("layout", layout, &["replication_factor", "zone_redundancy", "nodes"]);
        wanted.replication_factor = self.number(
            "replication_factor",
            layout.get("replication_factor"),
            "a number",
            |_| None,
            |number| number,
        );
        wanted.zone_redundancy = self.number(
            "zone_redundancy",
            layout.get("zone_redundancy"),
            "a number, or \"maximum\"",
            |word| (word == "maximum").then_some(None),
            Some,
        );
        for (name, table) in self.tables("layout.nodes", layout.get("nodes")) {
            let role = self.role(&name, table);
            wanted.nodes.insert(name, role);
        }
    }

    fn role(&mut self, node: &str, table: &DeTable<'_>) -> Role {
        let at = format!("layout.nodes.{node}");
        self.strangers(&at, table, &["zone", "capacity", "gateway", "tags"]);
        let zone = self.string("zone", table.get("zone"));
        let gateway = self.bool("gateway", table.get("gateway")) == Some(true);
        let capacity = self.number(
            "capacity",
            table.get("capacity"),
            "a size, such as \"500G\" or \"2T\"",
            |text| size::parse(text).ok(),
            |bytes| bytes,
        );
        if zone.is_none() && !table.contains_key("zone") {
            self.problems.push(format!("[{at}] lacks zone"));
        }
        if gateway == table.contains_key("capacity") {
            self.problems.push(format!("[{at}] must have either capacity or gateway = true"));
        }
        let tags = self.strings("tags", table.get("tags"));
        Role { zone: zone.unwrap_or_default(), capacity, tags }
    }

    fn key(&mut self, name: &str, table: &DeTable<'_>) -> Key {
        let at = format!("keys.{name}");
        self.strangers(&at, table, &["create_bucket", "expires", "id", "secret_file"]);
        let create_bucket = self.bool("create_bucket", table.get("create_bucket"));
        let expires = self.expiry(table.get("expires"));
        let id = self.string("id", table.get("id"));
        let secret = self.string("secret_file", table.get("secret_file"));
        if id.is_some() != secret.is_some() {
            self.problems.push(format!("[{at}] must have both id and secret_file, or neither"));
        }
        Key { create_bucket, expires, import: id.zip(secret.map(PathBuf::from)) }
    }

    /// A date, or a text that says the same.
    fn expiry(&mut self, value: Option<&Value<'_>>) -> Option<Option<Timestamp>> {
        let value = value?;
        let written = value.get_ref().as_datetime().map(ToString::to_string);
        let said = match written.as_deref().or_else(|| value.get_ref().as_str()) {
            Some("never") => Some(None),
            Some(text) if text.contains('T') => date::parse_iso8601(text.as_bytes()).map(Some),
            Some(day) => date::parse_iso8601(format!("{day}T00:00:00Z").as_bytes()).map(Some),
            None => None,
        };
        if said.is_none() {
            self.must(
                value,
                "expires",
                "a day or a time, such as 2030-01-31 or 2030-01-31T12:00:00Z, or \"never\"",
            );
        }
        said
    }

    fn bucket(&mut self, name: &str, table: &DeTable<'_>) -> Bucket {
        let at = format!("buckets.{name}");
        let known =
            ["aliases", "local_aliases", "max_size", "max_objects", "website", "public", "allow"];
        self.strangers(&at, table, &known);
        let none = |word: &str| (word == "none").then_some(None);
        Bucket {
            aliases: self.strings("aliases", table.get("aliases")),
            local_aliases: self.local_aliases(&at, table.get("local_aliases")),
            max_size: self.number(
                "max_size",
                table.get("max_size"),
                "a size, such as \"10G\", or \"none\"",
                |text| none(text).or_else(|| size::parse(text).ok().map(Some)),
                Some,
            ),
            max_objects: self.number(
                "max_objects",
                table.get("max_objects"),
                "a number, or \"none\"",
                none,
                Some,
            ),
            website: self.website(&at, table.get("website")),
            public: self.public(&at, table.get("public")),
            allow: self.allow(&at, table.get("allow")),
        }
    }

    fn website(&mut self, at: &str, value: Option<&Value<'_>>) -> Option<Option<Site>> {
        let value = value?;
        match value.get_ref().as_bool() {
            Some(true) => return Some(Some(Site::default())),
            Some(false) => return Some(None),
            None => {}
        }
        let Some(table) = value.get_ref().as_table() else {
            self.must(value, "website", "true, false, or { index = \"...\", error = \"...\" }");
            return None;
        };
        self.strangers(&format!("{at}.website"), table, &["index", "error"]);
        let index = self.string("index", table.get("index"));
        let error = self.string("error", table.get("error"));
        Some(Some(Site { index, error: error.map(|key| (key != "none").then_some(key)) }))
    }

    fn public(&mut self, at: &str, value: Option<&Value<'_>>) -> Option<Option<BTreeSet<String>>> {
        let value = value?;
        if let Some(is) = value.get_ref().as_bool() {
            return Some(is.then(BTreeSet::new));
        }
        let table = value.get_ref().as_table();
        let prefixes = table.and_then(|table| table.get("prefixes"));
        // None at all could be taken for nothing, or for everything.
        let given = prefixes
            .is_some_and(|list| list.get_ref().as_array().is_none_or(|list| !list.is_empty()));
        let (Some(table), true) = (table, given) else {
            self.must(value, "public", "true, false, or { prefixes = [\"...\"] }");
            return None;
        };
        self.strangers(&format!("{at}.public"), table, &["prefixes"]);
        Some(Some(self.strings("prefixes", prefixes).into_iter().collect()))
    }

    fn local_aliases(
        &mut self,
        at: &str,
        value: Option<&Value<'_>>,
    ) -> BTreeMap<String, Vec<String>> {
        let Some(table) = self.table(&format!("{at}.local_aliases"), value) else {
            return BTreeMap::new();
        };
        let names = table.iter().map(|(key, value)| {
            let key = key.get_ref().to_string();
            let names = self.strings(&key, Some(value));
            (key, names)
        });
        names.collect()
    }

    fn allow(&mut self, at: &str, value: Option<&Value<'_>>) -> BTreeMap<String, [bool; 3]> {
        let Some(table) = self.table(&format!("{at}.allow"), value) else {
            return BTreeMap::new();
        };
        let mut allow = BTreeMap::new();
        for (key, value) in table.iter() {
            let name = key.get_ref().to_string();
            let words = self.strings(&name, Some(value));
            for word in &words {
                if !PERMISSIONS.contains(&word.as_str()) {
                    self.wrong(
                        value.span().start,
                        format!("{word}: a key may read, write, or be an owner"),
                    );
                }
            }
            allow.insert(name, PERMISSIONS.map(|what| words.iter().any(|word| word == what)));
        }
        allow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_what_there_shall_be() {
        let wanted = read(
            r#"
            [layout]
            replication_factor = 3
            zone_redundancy = "maximum"
            [layout.nodes.attic]
            zone = "home"
            capacity = "2T"
            tags = ["ssd"]
            [layout.nodes.1f3a]
            zone = "office"
            gateway = true
            [keys.phone]
            [keys.guest]
            expires = 2030-01-31
            [keys.old]
            id = "AKIA"
            secret_file = "old.secret"
            create_bucket = false
            expires = "never"
            [buckets.photos]
            aliases = ["pictures"]
            max_size = "200G"
            max_objects = "none"
            website = { error = "404.html" }
            public = { prefixes = ["img/", "doc/"] }
            local_aliases = { phone = ["mine"] }
            allow = { phone = ["read", "write"], old = [] }
            "#,
        );
        let wanted = wanted.expect("it is right");
        let attic = Role {
            zone: "home".to_owned(),
            capacity: Some(2_000_000_000_000),
            tags: vec!["ssd".to_owned()],
        };
        assert_eq!(wanted.nodes["attic"], attic);
        assert_eq!(wanted.nodes["1f3a"].capacity, None);
        assert_eq!((wanted.replication_factor, wanted.zone_redundancy), (Some(3), Some(None)));
        assert_eq!(wanted.keys["phone"], Key::default());
        let import = Some(("AKIA".to_owned(), PathBuf::from("old.secret")));
        let old = Key { create_bucket: Some(false), expires: Some(None), import };
        assert_eq!(wanted.keys["old"], old);
        let day = Timestamp(1_896_048_000_000);
        assert_eq!(wanted.keys["guest"].expires, Some(Some(day)));
        let photos = &wanted.buckets["photos"];
        assert_eq!(photos.aliases, ["pictures"]);
        assert_eq!(photos.local_aliases["phone"], ["mine"]);
        assert_eq!(photos.max_size, Some(Some(200_000_000_000)));
        assert_eq!(photos.max_objects, Some(None));
        let site = Site { index: None, error: Some(Some("404.html".to_owned())) };
        assert_eq!(photos.website, Some(Some(site)));
        let shared = ["img/", "doc/"].map(str::to_owned);
        assert_eq!(photos.public, Some(Some(shared.into())));
        assert_eq!(photos.allow["phone"], [true, true, false]);
        assert_eq!(photos.allow["old"], [false; 3]);
    }

    #[test]
    fn a_time_is_written_as_one_or_as_a_text() {
        let noon = Timestamp(1_896_048_000_000 + 12 * 3_600_000);
        for time in ["2030-01-31T12:00:00Z", "\"2030-01-31T12:00:00Z\"", "2030-01-31 12:00:00Z"] {
            let wanted = read(&format!("[keys.k]\nexpires = {time}\n")).expect(time);
            assert_eq!(wanted.keys["k"].expires, Some(Some(noon)), "{time}");
        }
        for wrong in ["\"soon\"", "30", "2030-01-31T12:00:00", "12:00:00", "\"30d\""] {
            let problems = read(&format!("[keys.k]\nexpires = {wrong}\n")).expect_err(wrong);
            assert!(problems[0].starts_with("line 2: expires must be a day or a time"), "{wrong}");
        }
    }

    #[test]
    fn a_bucket_is_public_as_a_whole_or_in_parts_or_not() {
        let public = |value: &str| {
            read(&format!("[buckets.b]\npublic = {value}\n"))
                .map(|wanted| wanted.buckets["b"].public.clone())
        };
        assert_eq!(public("true"), Ok(Some(Some(BTreeSet::new()))));
        assert_eq!(public("false"), Ok(Some(None)));
        let must = "line 2: public must be true, false, or { prefixes = [\"...\"] }";
        for wrong in ["\"all\"", "[\"a/\"]", "{ prefixes = [] }", "{}"] {
            assert_eq!(public(wrong), Err(vec![must.to_owned()]), "{wrong}");
        }
        for (wrong, problem) in [
            ("{ prefixes = \"a/\" }", "line 2: prefixes must be a list of texts"),
            ("{ prefixes = [\"\"] }", "line 2: prefixes must be a text, in quotation marks"),
            (
                "{ prefixes = [\"a/\"], prefix = \"b/\" }",
                "line 2: unknown key prefix in [buckets.b.public]: the nearest known key is prefixes",
            ),
        ] {
            assert_eq!(public(wrong), Err(vec![problem.to_owned()]), "{wrong}");
        }
    }

    #[test]
    fn everything_that_is_wrong_is_named_with_its_line() {
        let problems = read(
            "[bucket.photos]\n[buckets.music]\nmax_size = \"much\"\nmax_object = 1\n\
             allow = { phone = [\"reed\"] }\nwebsite = 3\n[layout.nodes.attic]\ncapacity = \"1T\"\ngateway = true\n\
             [keys.k]\nid = \"A\"\ncreate_bucket = \"yes\"\n",
        );
        let expected = [
            "line 1: unknown key bucket: the nearest known key is buckets",
            "[layout.nodes.attic] lacks zone",
            "[layout.nodes.attic] must have either capacity or gateway = true",
            "line 12: create_bucket must be true or false",
            "[keys.k] must have both id and secret_file, or neither",
            "line 4: unknown key max_object in [buckets.music]: the nearest known key is max_objects",
            "line 3: max_size must be a size, such as \"10G\", or \"none\"",
            "line 6: website must be true, false, or { index = \"...\", error = \"...\" }",
            "line 5: reed: a key may read, write, or be an owner",
        ];
        assert_eq!(problems.expect_err("much is wrong"), expected);
        let problems = read("[buckets").expect_err("it is no TOML");
        assert!(problems[0].starts_with("line 1: not TOML"), "{problems:?}");
    }
}
