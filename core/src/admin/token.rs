//! Tokens of this API: made, listed, changed, deleted.
//!
//! A token is its id, a dot and a secret. The secret is told once, when the token is made; what is stored is a hash. Whoever may
//! create tokens, or change them, can give himself any scope: these two calls in a scope come to as much as all, as in Garage.

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    admit::{Holder, METRICS, is_id},
    auth::{Tokens, hashed},
    call::Call,
    error::Error,
    query::Query,
};
use crate::{
    quorum,
    s3::date,
    spelling,
    store::{Batch, Op, Outcome, Read, Table},
    table::{
        self,
        access::Lww,
        token::{AdminTokenRow, Scope},
    },
    task::Cx,
    time::{Stamp, Timestamp},
    view::View,
};

/// Tokens read at a time: some 200 bytes each.
const PAGE: usize = 1000;

/// What is given for a new token, or changed of an old one.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Change {
    name: Option<String>,
    expiration: Option<String>,
    never_expires: Option<bool>,
    scope: Option<Vec<String>>,
}

/// The same, understood. `None` leaves things as they are.
#[derive(Debug)]
struct Parsed {
    name: Option<String>,
    expires: Option<Option<Timestamp>>,
    scope: Option<Scope>,
}

impl Change {
    fn parse(self) -> Result<Parsed, Error> {
        let at = |text: String| {
            let at = date::parse_iso8601(text.as_bytes());
            at.ok_or_else(|| {
                Error::bad(format!("expiration: `{text}` is no date like 2030-12-31T23:59:59Z"))
            })
        };
        let expires = match (self.expiration, self.never_expires.unwrap_or(false)) {
            (Some(_), true) => {
                return Err(Error::bad("give either expiration or neverExpires, not both"));
            }
            (Some(text), false) => Some(Some(at(text)?)),
            (None, true) => Some(None),
            (None, false) => None,
        };
        let scope = self.scope.map(|names| scope(&names)).transpose()?;
        Ok(Parsed { name: self.name, expires, scope })
    }
}

/// Every name that a scope may have.
fn names() -> impl Iterator<Item = &'static str> {
    let calls = Call::ALL.iter().map(|call| call.name());
    calls.chain([METRICS])
}

fn scope(given: &[String]) -> Result<Scope, Error> {
    let mut scope = BTreeSet::new();
    for name in given {
        if name != "*" && !names().any(|known| known == name) {
            let nearest = spelling::nearest(names(), name);
            let hint = nearest.map(|nearest| format!("; the nearest is {nearest}"));
            let hint = hint.unwrap_or_default();
            return Err(Error::bad(format!("scope: there is no call named `{name}`{hint}")));
        }
        scope.insert(name.clone());
    }
    Ok(if scope.contains("*") { Scope::All } else { Scope::Calls(scope) })
}

fn info(id: &str, row: &AdminTokenRow, now: Timestamp) -> Value {
    json!({
        "id": id,
        "created": date::iso8601(row.created),
        "name": row.name.value,
        "expiration": row.expires.value.map(date::iso8601),
        "expired": row.is_expired(now),
        "scope": match &row.scope.value {
            Scope::All => json!(["*"]),
            Scope::Calls(names) => json!(names),
        },
    })
}

/// A token of the configuration: it has no row.
fn configured(key: &str, scope: &str) -> Value {
    json!({
        "id": Value::Null,
        "created": Value::Null,
        "name": format!("{key} (from the configuration)"),
        "expiration": Value::Null,
        "expired": false,
        "scope": [scope],
    })
}

pub(super) fn current(cx: Cx, holder: &Holder) -> Value {
    match holder {
        Holder::Configured => configured("admin_token", "*"),
        Holder::Token(id, row) => info(id, row, cx.now().wall),
    }
}

pub(super) async fn list(cx: Cx, view: &View, tokens: &Tokens) -> Result<Value, Error> {
    let now = cx.now().wall;
    let mut rows = all(cx, view).await?;
    rows.sort_by(|(a, x), (b, y)| (x.created, a).cmp(&(y.created, b)));
    let admin = tokens.has_admin().then(|| configured("admin_token", "*"));
    let metrics = tokens.has_metrics().then(|| configured("metrics_token", METRICS));
    let rows = rows.iter().map(|(id, row)| info(id, row, now));
    Ok(admin.into_iter().chain(metrics).chain(rows).collect())
}

/// All tokens that were not deleted. A keeper makes a few; the dead ones are passed over page by page.
async fn all(cx: Cx, view: &View) -> Result<Vec<(String, AdminTokenRow)>, Error> {
    let (mut found, mut from) = (Vec::new(), Vec::new());
    loop {
        let read = Read::Scan { table: Table::AdminToken, from, until: None, limit: PAGE };
        let rows = quorum::read_local(cx, view, read).await?.into_rows();
        let Some((last, _)) = rows.last() else { return Ok(found) };
        from = [&last[..], &[0]].concat();
        for (key, value) in rows {
            let row = decoded(&value)?;
            if !row.deleted {
                found.push((String::from_utf8_lossy(&key).into_owned(), row));
            }
        }
    }
}

fn decoded(value: &[u8]) -> Result<AdminTokenRow, Error> {
    let row = table::decode(Table::AdminToken, value);
    row.map_err(|error| Error::internal(error.to_string()))
}

pub(super) async fn get(cx: Cx, view: &View, query: &Query) -> Result<Value, Error> {
    let (id, row) = match (query.get("id"), query.get("search")) {
        (Some(id), None) => (id.to_owned(), existing(cx, view, id).await?),
        (None, Some(pattern)) => search(all(cx, view).await?, pattern)?,
        (Some(_), Some(_)) | (None, None) => {
            return Err(Error::bad("give one of the parameters `id` and `search`"));
        }
    };
    Ok(info(&id, &row, cx.now().wall))
}

/// The one token with this name, or else the one whose id begins like this or whose name contains it.
fn search(
    rows: Vec<(String, AdminTokenRow)>,
    pattern: &str,
) -> Result<(String, AdminTokenRow), Error> {
    let lower = pattern.to_lowercase();
    let (mut named, other): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|(_, row)| row.name.value == pattern);
    if named.is_empty() {
        named = other;
        named.retain(|(id, row)| {
            id.starts_with(pattern) || row.name.value.to_lowercase().contains(&lower)
        });
    }
    match (named.pop(), named.len()) {
        (Some(found), 0) => Ok(found),
        (Some(_), more) => {
            let found = more + 1;
            Err(Error::bad(format!("{found} tokens match `{pattern}`: give more of the id")))
        }
        (None, _) => Err(unknown(pattern)),
    }
}

fn unknown(id: &str) -> Error {
    Error::not_found("NoSuchAdminToken", format!("there is no admin token `{id}`"))
}

/// The row of a token that was not deleted.
async fn existing(cx: Cx, view: &View, id: &str) -> Result<AdminTokenRow, Error> {
    if !is_id(id) {
        return Err(unknown(id));
    }
    in_cluster(view)?;
    let keys = vec![(Table::AdminToken, id.as_bytes().to_vec())];
    let value = quorum::confirm(cx, view, keys).await?.pop().flatten();
    let row = value.as_deref().map(decoded).transpose()?;
    row.filter(|row| !row.deleted).ok_or_else(|| unknown(id))
}

pub(super) async fn create(cx: Cx, view: &View, change: Change) -> Result<Value, Error> {
    let parsed = change.parse()?;
    let now = cx.now().wall;
    if parsed.expires.flatten().is_some_and(|at| at <= now) {
        return Err(Error::bad("expiration: this is past, so the token would be of no use"));
    }
    let id = hex::encode(cx.random::<12>());
    let token = format!("{id}.{}", URL_SAFE_NO_PAD.encode(cx.random::<32>()));
    let at = Stamp::from_wall(now);
    let row = AdminTokenRow {
        created: now,
        hash: hashed(token.as_bytes()),
        deleted: false,
        name: Lww { at, value: parsed.name.unwrap_or_else(|| "Unnamed token".to_owned()) },
        expires: Lww { at, value: parsed.expires.flatten() },
        scope: Lww { at, value: parsed.scope.unwrap_or(Scope::All) },
    };
    write(cx, view, &id, &row).await?;
    let mut answer = info(&id, &row, now);
    answer["secretToken"] = json!(token);
    Ok(answer)
}

pub(super) async fn update(cx: Cx, view: &View, id: &str, change: Change) -> Result<Value, Error> {
    let parsed = change.parse()?;
    let mut row = existing(cx, view, id).await?;
    let now = cx.now().wall;
    set(&mut row.name, parsed.name, now);
    set(&mut row.expires, parsed.expires, now);
    set(&mut row.scope, parsed.scope, now);
    write(cx, view, id, &row).await?;
    Ok(info(id, &row, now))
}

fn set<T>(register: &mut Lww<T>, value: Option<T>, now: Timestamp) {
    if let Some(value) = value {
        *register = Lww { at: Stamp::past(now, register.at), value };
    }
}

pub(super) async fn delete(cx: Cx, view: &View, query: &Query) -> Result<Value, Error> {
    let id = query.need("id")?;
    let row = AdminTokenRow { deleted: true, ..existing(cx, view, id).await? };
    write(cx, view, id, &row).await?;
    Ok(Value::Null)
}

/// That there are nodes which keep rows.
fn in_cluster(view: &View) -> Result<(), Error> {
    if view.ring.version() > 0 {
        return Ok(());
    }
    Err(Error::bad("this node belongs to no cluster yet: apply a layout first"))
}

async fn write(cx: Cx, view: &View, id: &str, row: &AdminTokenRow) -> Result<(), Error> {
    in_cluster(view)?;
    let (key, value) = (id.as_bytes().to_vec(), table::encode(row));
    let op = Op::Merge { table: Table::AdminToken, key, value, inline: None };
    match quorum::write_full_copy(cx, view, Batch::new(cx.now().wall, vec![op])).await? {
        Outcome::Applied(_) => Ok(()),
        Outcome::Refused { guard } => panic!("guard {guard} of a batch without guards"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(change: Value) -> Result<Parsed, String> {
        let change: Change = serde_json::from_value(change).map_err(|error| error.to_string())?;
        change.parse().map_err(|error| error.message)
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (change, says) in [
            (json!({ "scope": ["GetClusterHelth"] }), "the nearest is GetClusterHealth"),
            (json!({ "expiration": "soon" }), "no date like"),
            (json!({ "expiration": "2030-01-01T00:00:00Z", "neverExpires": true }), "either"),
            (json!({ "scopes": ["*"] }), "unknown field"),
        ] {
            let error = parse(change.clone()).expect_err(says);
            assert!(error.contains(says), "{change}: {error}");
        }
        let parsed = parse(json!({ "scope": ["Metrics", "*"], "expiration": null }));
        let parsed = parsed.expect("it makes sense");
        assert_eq!((parsed.scope, parsed.expires), (Some(Scope::All), None));
        let parsed = parse(json!({ "neverExpires": true, "scope": ["Metrics", "CreateKey"] }));
        let parsed = parsed.expect("it makes sense");
        let calls = Scope::Calls(["CreateKey".to_owned(), "Metrics".to_owned()].into());
        assert_eq!((parsed.scope, parsed.expires), (Some(calls), Some(None)));
    }

    #[test]
    fn a_search_finds_one_or_says_why_not() {
        let row = |name: &str| {
            let at = Stamp(1);
            AdminTokenRow {
                created: Timestamp(1),
                hash: [0; 32],
                deleted: false,
                name: Lww { at, value: name.to_owned() },
                expires: Lww { at, value: None },
                scope: Lww { at, value: Scope::All },
            }
        };
        let rows = vec![
            ("0a".repeat(12), row("Backup")),
            ("0b".repeat(12), row("backup of photos")),
            ("1c".repeat(12), row("dashboard")),
        ];
        let find = |pattern| search(rows.clone(), pattern).map(|(id, _)| id[..2].to_owned());
        assert_eq!(find("Backup"), Ok("0a".to_owned()), "a whole name goes first");
        assert_eq!(find("photos"), Ok("0b".to_owned()));
        assert_eq!(find("1c1"), Ok("1c".to_owned()));
        assert_eq!(find("0").map_err(|error| error.status), Err(400));
        assert_eq!(
            find("x").map_err(|error| (error.status, error.code)),
            Err((404, "NoSuchAdminToken"))
        );
    }
}
