//! Access keys.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    error::Error,
    query::{Page, Query},
    row,
};
use crate::{
    daemon::identity::KeyPair,
    id::BucketId,
    s3::date,
    store::{Guard, Table},
    table::access::{AccessKeyRow, BucketRow, Lww, Permissions},
    task::Cx,
    time::{Stamp, Timestamp},
    view::View,
};

/// How many of a list are told at a time.
pub(super) const LIST_MAX: usize = 10_000;

/// The same of a list with all that is known of each.
pub(super) const INFO_MAX: usize = 1000;

/// What CreateKey and UpdateKey may say.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Update {
    name: Option<String>,
    expiration: Option<String>,
    #[serde(default)]
    never_expires: bool,
    allow: Option<Flags>,
    deny: Option<Flags>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Flags {
    #[serde(default)]
    create_bucket: bool,
}

/// An [`Update`] that makes sense: what is to be as it says.
struct Wish {
    name: Option<String>,
    expiration: Option<Option<Timestamp>>,
    create_bucket: Option<bool>,
}

impl Update {
    fn wish(self) -> Result<Wish, Error> {
        let expiration = match (self.expiration, self.never_expires) {
            (Some(_), true) => {
                return Err(Error::bad("either `expiration` or `neverExpires`, not both"));
            }
            (Some(text), false) => {
                let at = date::parse_iso8601(text.as_bytes()).ok_or_else(|| {
                    Error::bad(format!(
                        "`expiration` is a date as RFC 3339 has it, such as 2030-01-31T12:00:00Z; not `{text}`"
                    ))
                })?;
                Some(Some(at))
            }
            (None, true) => Some(None),
            (None, false) => None,
        };
        let set = |flags: Option<Flags>| flags.unwrap_or_default().create_bucket;
        let create_bucket = match (set(self.allow), set(self.deny)) {
            (true, true) => {
                return Err(Error::bad("`createBucket` is both allowed and denied"));
            }
            (allow, deny) => (allow || deny).then_some(allow),
        };
        Ok(Wish { name: self.name, expiration, create_bucket })
    }
}

impl Wish {
    /// The row as wished for, or `None` if it is so already.
    fn applied(&self, row: &AccessKeyRow, now: Timestamp) -> Option<AccessKeyRow> {
        fn set<T: PartialEq + Clone>(register: &mut Lww<T>, to: Option<&T>, now: Timestamp) {
            if let Some(to) = to.filter(|to| **to != register.value) {
                *register = Lww { at: Stamp::past(now, register.at), value: to.clone() };
            }
        }
        let mut new = row.clone();
        set(&mut new.name, self.name.as_ref(), now);
        set(&mut new.expiration, self.expiration.as_ref(), now);
        set(&mut new.create_bucket, self.create_bucket.as_ref(), now);
        (new != *row).then_some(new)
    }
}

/// ListKeys.
pub(super) async fn list(cx: Cx, view: &View, page: Page) -> Result<Value, Error> {
    let (keys, now) = (row::keys(cx, view).await?, cx.now().wall);
    Ok(page.of(keys.iter()).map(|(id, key)| line(id, key, now)).collect())
}

fn line(id: &str, key: &AccessKeyRow, now: Timestamp) -> Value {
    json!({
        "id": id,
        "name": key.name.value,
        "created": row::date(key.created),
        "expiration": key.expiration.value.map(row::date),
        "expired": key.is_expired(now),
    })
}

/// ListKeysInfo.
pub(super) async fn list_info(cx: Cx, view: &View, page: Page) -> Result<Value, Error> {
    let keys = row::keys(cx, view).await?;
    let mut infos = Vec::new();
    for (id, key) in page.of(keys.iter()) {
        infos.push(info(cx, view, id, key, false).await?);
    }
    Ok(json!(infos))
}

/// GetKeyInfo.
pub(super) async fn get(cx: Cx, view: &View, query: &Query) -> Result<Value, Error> {
    let secret = query.is_set("showSecretKey")?;
    let (by, text) = query.one_of(&["id", "search"])?;
    if by == "id" {
        return info(cx, view, text, &row::key(cx, view, text).await?, secret).await;
    }
    let keys = row::keys(cx, view).await?;
    let (id, key) = found(&keys, text)?;
    info(cx, view, id, key, secret).await
}

/// The one key whose id begins with this text, or is it, or whose name it is.
fn found<'a>(
    keys: &'a std::collections::BTreeMap<String, AccessKeyRow>,
    text: &str,
) -> Result<(&'a str, &'a AccessKeyRow), Error> {
    if let Some((id, key)) = keys.get_key_value(text) {
        return Ok((id, key));
    }
    let fits = |(id, key): &(&String, &AccessKeyRow)| {
        id.starts_with(text) || key.name.value.eq_ignore_ascii_case(text)
    };
    let mut found = keys.iter().filter(fits);
    match (found.next(), found.next()) {
        (Some((id, key)), None) => Ok((id, key)),
        (None, _) => Err(Error::not_found(
            "NoSuchAccessKey",
            format!("there is no access key whose id begins with `{text}` or whose name that is"),
        )),
        (Some((a, _)), Some((b, _))) => Err(Error::bad(format!(
            "several access keys fit `{text}`, {a} and {b} among them; name one by its id"
        ))),
    }
}

/// All that is known of a key.
async fn info(
    cx: Cx,
    view: &View,
    id: &str,
    key: &AccessKeyRow,
    secret: bool,
) -> Result<Value, Error> {
    let granted = key.buckets.iter().filter(|(_, each)| each.value != Permissions::default());
    let mut ids: Vec<BucketId> = granted.map(|(id, _)| *id).collect();
    ids.extend(key.aliases.values().filter_map(|alias| alias.value));
    ids.sort_unstable();
    ids.dedup();
    let buckets = row::some_buckets(cx, view, ids).await?;
    let bucket = |(id, bucket): (&BucketId, &BucketRow)| {
        json!({
            "id": id.to_string(),
            "globalAliases": bucket.names().collect::<Vec<_>>(),
            "localAliases": key.local_names(*id).collect::<Vec<_>>(),
            "permissions": row::permissions(key.permissions(*id)),
        })
    };
    Ok(json!({
        "accessKeyId": id,
        "secretAccessKey": secret.then_some(&key.secret),
        "name": key.name.value,
        "created": row::date(key.created),
        "expiration": key.expiration.value.map(row::date),
        "expired": key.is_expired(cx.now().wall),
        "permissions": { "createBucket": key.create_bucket.value },
        "buckets": buckets.iter().map(bucket).collect::<Vec<_>>(),
    }))
}

/// CreateKey.
pub(super) async fn create(cx: Cx, view: &View, update: Option<Update>) -> Result<Value, Error> {
    let wish = update.unwrap_or_default().wish()?;
    let KeyPair { id, secret } = KeyPair::from_random(cx.random());
    let key = make(cx, view, &id, secret, &wish).await?;
    info(cx, view, &id, &key, true).await
}

/// What ImportKey says.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Import {
    access_key_id: String,
    secret_access_key: String,
    name: Option<String>,
}

/// ImportKey. Whatever other stores call a key and its secret will do, if it survives a request's `Authorization` header.
pub(super) async fn import(cx: Cx, view: &View, import: Import) -> Result<Value, Error> {
    let Import { access_key_id: id, secret_access_key: secret, name } = import;
    let id_ok = |b: u8| b.is_ascii_graphic() && !matches!(b, b'/' | b',' | b'=');
    if id.is_empty() || id.len() > 128 || !id.bytes().all(id_ok) {
        return Err(Error::bad(
            "`accessKeyId` has 1 to 128 visible ASCII characters other than `/`, `,` and `=`",
        ));
    }
    if !(8..=256).contains(&secret.len()) || !secret.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Error::bad("`secretAccessKey` has 8 to 256 visible ASCII characters"));
    }
    if let Some(row) = row::any_key(cx, view, &id).await? {
        return Err(exists(&id, row.deleted));
    }
    let wish = Wish { name, expiration: None, create_bucket: None };
    let key = make(cx, view, &id, secret, &wish).await?;
    info(cx, view, &id, &key, false).await
}

fn exists(id: &str, deleted: bool) -> Error {
    Error::conflict(
        "KeyAlreadyExists",
        match deleted {
            false => format!("there is an access key with the id `{id}` already"),
            true => format!(
                "there was an access key with the id `{id}`, and the id of a deleted key is never used again"
            ),
        },
    )
}

/// Makes a key that nobody has heard of.
async fn make(
    cx: Cx,
    view: &View,
    id: &str,
    secret: String,
    wish: &Wish,
) -> Result<AccessKeyRow, Error> {
    let now = cx.now().wall;
    let at = Stamp::past(now, Stamp(0));
    let name = Lww { at, value: wish.name.clone().unwrap_or_default() };
    let expiration = match wish.expiration {
        Some(value) => Lww { at, value },
        None => Lww::default(),
    };
    let create_bucket = Lww { at, value: wish.create_bucket.unwrap_or_default() };
    let key = AccessKeyRow {
        created: now,
        secret,
        name,
        create_bucket,
        expiration,
        ..AccessKeyRow::default()
    };
    let absent = Guard::Absent { table: Table::AccessKey, key: id.as_bytes().to_vec() };
    row::write(cx, view, id.as_bytes(), &key, vec![absent]).await?;
    // Somebody else may have imported the same at the same moment.
    match row::any_key(cx, view, id).await? {
        Some(stored) if !stored.deleted && stored.secret == key.secret => Ok(stored),
        Some(stored) => Err(exists(id, stored.deleted)),
        None => Err(row::contended(id)),
    }
}

/// UpdateKey.
pub(super) async fn update(cx: Cx, view: &View, id: &str, update: Update) -> Result<Value, Error> {
    let (wish, now) = (update.wish()?, cx.now().wall);
    let change = |key: &AccessKeyRow| Ok(wish.applied(key, now));
    let key = row::change(cx, view, id.as_bytes(), id, change).await?;
    info(cx, view, id, &key, false).await
}

/// DeleteKey. The row stays, so that the id is never given to another.
pub(super) async fn delete(cx: Cx, view: &View, id: &str) -> Result<Value, Error> {
    let key = row::key(cx, view, id).await?;
    let dead = AccessKeyRow { deleted: true, ..key };
    row::write(cx, view, id.as_bytes(), &dead, Vec::new()).await?;
    Ok(Value::Null)
}
