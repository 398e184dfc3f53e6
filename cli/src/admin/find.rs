//! Which one is meant: by an id, the beginning of one, or a name.

use mews_core::spelling;
use serde_json::Value;

use super::{
    Client, Failure,
    value::{list, text},
};

/// Something that a person can mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// What the Admin API knows it by.
    pub id: String,
    /// What people may call it.
    pub names: Vec<String>,
}

/// A kind of things.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// In a sentence.
    pub one: &'static str,
    /// In a sentence.
    pub several: &'static str,
    /// The command that shows all.
    pub list: &'static str,
}

/// Access keys.
pub const KEYS: Kind = Kind { one: "access key", several: "access keys", list: "mews key list" };
/// Buckets.
pub const BUCKETS: Kind = Kind { one: "bucket", several: "buckets", list: "mews bucket list" };
/// Nodes.
pub const NODES: Kind = Kind { one: "node", several: "nodes", list: "mews status" };
/// Admin tokens.
pub const TOKENS: Kind =
    Kind { one: "admin token", several: "admin tokens", list: "mews token list" };

/// The one that is meant: the one of that id or else of that name; or else the only one whose id or name begins so.
pub fn one<'a>(kind: Kind, all: &'a [Named], wanted: &str) -> Result<&'a Named, Failure> {
    if let Some(found) = all.iter().find(|it| it.id == wanted) {
        return Ok(found);
    }
    let by_name = |it: &&Named| it.names.iter().any(|name| name == wanted);
    let by_beginning = |it: &&Named| {
        let name = it.names.iter().any(|name| name.starts_with(wanted));
        !wanted.is_empty() && (name || begins(&it.id, wanted))
    };
    let mut found: Vec<&Named> = all.iter().filter(by_name).collect();
    if found.is_empty() {
        found = all.iter().filter(by_beginning).collect();
    }
    only(kind, all, &found, wanted)
}

/// As [`one`], for what cannot be taken back: a name must be whole. The beginning of an id will do.
pub fn exactly<'a>(kind: Kind, all: &'a [Named], wanted: &str) -> Result<&'a Named, Failure> {
    let found = one(kind, all, wanted)?;
    let whole = found.names.iter().any(|name| name == wanted) || begins(&found.id, wanted);
    if whole {
        return Ok(found);
    }
    let name = found.names.first().map_or(found.id.as_str(), String::as_str);
    Err(Failure::Failed(format!(
        "no {} is called {wanted}. If {name} is meant, write its whole name: this cannot be taken back",
        kind.one
    )))
}

/// Ids in hexadecimal digits may be written in capitals.
fn begins(id: &str, wanted: &str) -> bool {
    id.get(..wanted.len()).is_some_and(|start| start.eq_ignore_ascii_case(wanted))
}

fn only<'a>(
    kind: Kind,
    all: &[Named],
    found: &[&'a Named],
    wanted: &str,
) -> Result<&'a Named, Failure> {
    match found {
        [one] => Ok(one),
        [] => {
            let names = all.iter().flat_map(|it| it.names.iter().map(String::as_str));
            let meant = spelling::probable(names, wanted);
            let meant = meant.map(|name| format!(" Is {name} meant?")).unwrap_or_default();
            Err(Failure::Failed(format!(
                "no {} is called {wanted}.{meant} See `{}`",
                kind.one, kind.list
            )))
        }
        several => {
            let names: Vec<String> = several.iter().map(|it| shown(it)).collect();
            Err(Failure::Failed(format!(
                "{} {} are called {wanted}: {}. Write more of the one that is meant",
                several.len(),
                kind.several,
                names.join(", ")
            )))
        }
    }
}

fn shown(it: &Named) -> String {
    match it.names.first() {
        Some(name) => format!("{} ({name})", it.id),
        None => it.id.clone(),
    }
}

fn named(all: &Value, name: &str) -> Vec<Named> {
    let names = |it: &Value| it[name].as_str().filter(|name| !name.is_empty()).map(str::to_owned);
    let one = |it: &Value| Named { id: text(&it["id"]), names: names(it).into_iter().collect() };
    // What has no id stands in a configuration file, and is no thing of the API's.
    list(all).iter().filter(|it| !it["id"].is_null()).map(one).collect()
}

/// All access keys.
pub fn keys(client: &Client) -> Result<Vec<Named>, Failure> {
    Ok(named(&client.get("ListKeys", &[])?, "name"))
}

/// The id of an access key.
pub fn key(client: &Client, wanted: &str) -> Result<String, Failure> {
    Ok(one(KEYS, &keys(client)?, wanted)?.id.clone())
}

/// All admin tokens that are not a configuration's.
pub fn tokens(client: &Client) -> Result<Vec<Named>, Failure> {
    Ok(named(&client.get("ListAdminTokens", &[])?, "name"))
}

/// All buckets. A bucket's names are its global aliases, or if it has none, those that keys have for it.
pub fn buckets(client: &Client) -> Result<Vec<Named>, Failure> {
    Ok(list(&client.get("ListBuckets", &[])?).iter().map(bucket_names).collect())
}

fn bucket_names(bucket: &Value) -> Named {
    let global: Vec<String> = list(&bucket["globalAliases"]).iter().map(text).collect();
    let local = list(&bucket["localAliases"]).iter().map(|local| text(&local["alias"]));
    let names = if global.is_empty() { local.collect() } else { global };
    Named { id: text(&bucket["id"]), names }
}

/// The id of a bucket.
pub fn bucket(client: &Client, wanted: &str) -> Result<String, Failure> {
    Ok(one(BUCKETS, &buckets(client)?, wanted)?.id.clone())
}

/// All nodes of a status.
pub fn nodes_of(status: &Value) -> Vec<Named> {
    named(&status["nodes"], "hostname")
}

/// The id of a node.
pub fn node(client: &Client, wanted: &str) -> Result<String, Failure> {
    let is_id = wanted.len() == 64 && wanted.bytes().all(|b| b.is_ascii_hexdigit());
    if is_id {
        // Also one that the asked node has never heard of.
        return Ok(wanted.to_ascii_lowercase());
    }
    let status = client.get("GetClusterStatus", &[])?;
    Ok(one(NODES, &nodes_of(&status), wanted)?.id.clone())
}

/// The nodes that are meant, as calls about nodes name them: `self`, `*` or an id.
pub fn selector(client: &Client, wanted: &str) -> Result<String, Failure> {
    if wanted == "self" || wanted == "*" { Ok(wanted.to_owned()) } else { node(client, wanted) }
}

/// The answers of the nodes that are meant.
pub fn at_nodes(
    client: &Client,
    call: &str,
    wanted: &str,
    body: Option<&Value>,
) -> Result<Value, Failure> {
    let query = [("node", &*selector(client, wanted)?)];
    match body {
        Some(body) => client.post_at(call, &query, body),
        None => client.get(call, &query),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Vec<Named> {
        let one = |id: &str, names: &[&str]| Named {
            id: id.to_owned(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        vec![
            one("11aa", &["photos", "pictures"]),
            one("11bb", &["photos-old"]),
            one("22cc", &["music"]),
            one("33dd", &["twin"]),
            one("44ee", &["twin"]),
        ]
    }

    #[test]
    fn one_is_found_by_its_id_its_name_or_the_beginning_of_either() {
        for (wanted, id) in [
            ("11aa", "11aa"),
            ("photos", "11aa"),
            ("pict", "11aa"),
            ("photos-", "11bb"),
            ("22", "22cc"),
            ("22C", "22cc"),
            ("m", "22cc"),
        ] {
            let found = one(BUCKETS, &some(), wanted).map(|it| it.id.clone());
            assert!(matches!(&found, Ok(found) if found == id), "{wanted}: {found:?}");
        }
    }

    #[test]
    fn several_or_none_are_named_with_what_to_do() {
        for (wanted, reason) in [
            ("11", "2 buckets are called 11: 11aa (photos), 11bb (photos-old). Write more"),
            ("twin", "2 buckets are called twin: 33dd (twin), 44ee (twin)"),
            ("phtos", "no bucket is called phtos. Is photos meant? See `mews bucket list`"),
            ("zzz", "no bucket is called zzz. See `mews bucket list`"),
            ("", "no bucket is called . See"),
        ] {
            let Err(Failure::Failed(text)) = one(BUCKETS, &some(), wanted) else {
                panic!("{wanted}")
            };
            assert!(text.starts_with(reason), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_taken_back_needs_a_whole_name_or_an_id() {
        for (wanted, id) in [("music", "22cc"), ("22", "22cc"), ("pictures", "11aa")] {
            let found = exactly(BUCKETS, &some(), wanted).map(|it| it.id.clone());
            assert!(matches!(&found, Ok(found) if found == id), "{wanted}: {found:?}");
        }
        let Err(Failure::Failed(text)) = exactly(BUCKETS, &some(), "mus") else { panic!("found") };
        assert!(text.contains("If music is meant, write its whole name"), "{text}");
    }
}
