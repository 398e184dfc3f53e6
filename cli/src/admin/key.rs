//! `mews key`.

use std::{io::Read, time::Duration};

use argh::{ArgsInfo, FromArgs};
use serde_json::{Map, Value, json};

use super::{
    Client, Done, Failure,
    confirm::confirm,
    expire, find,
    value::{expiry, id, list, moment, span, text},
};
use crate::page::{Page, row};

/// Access keys: what S3 clients sign with.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "key",
    example = "  {command_name} create backup --expires-in 90d\n  {command_name} info backup --show-secret"
)]
pub struct Key {
    #[argh(subcommand)]
    command: KeyCommand,
}

#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
enum KeyCommand {
    List(KeyList),
    Info(KeyInfo),
    Create(KeyCreate),
    Import(KeyImport),
    Rename(KeyRename),
    Set(KeySet),
    Delete(KeyDelete),
    Allow(KeyAllow),
    Deny(KeyDeny),
}

/// All access keys.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "list")]
struct KeyList {}

/// What a key is and what it may do.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "info")]
struct KeyInfo {
    /// its id or its name, or the beginning of either
    #[argh(positional)]
    key: String,
    /// also the secret
    #[argh(switch)]
    show_secret: bool,
}

/// Make a key and print its secret. It may do nothing yet: see `mews bucket allow`.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "create",
    example = "  {command_name} backup --expires-in 90d\n  eval \"$({command_name} backup --env)\""
)]
struct KeyCreate {
    /// what people call it
    #[argh(positional)]
    name: String,
    /// how long it is valid: 12h, 30d, 1y (default: for ever)
    #[argh(option, arg_name = "duration", from_str_fn(span))]
    expires_in: Option<Duration>,
    /// print it as lines that a shell can read, for AWS's tools
    #[argh(switch)]
    env: bool,
}

/// Take over a key that another store has made.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "import",
    example = "  {command_name} AKIAIOSFODNN7EXAMPLE - --name backup < secret.txt"
)]
struct KeyImport {
    /// its id
    #[argh(positional, arg_name = "id")]
    id: String,
    /// its secret; - reads it from the standard input, where nobody sees it in a list of processes
    #[argh(positional)]
    secret: String,
    /// what people call it (default: its id)
    #[argh(option)]
    name: Option<String>,
}

/// Call a key something else.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "rename")]
struct KeyRename {
    /// its id or its name, or the beginning of either
    #[argh(positional)]
    key: String,
    /// the new name
    #[argh(positional)]
    name: String,
}

/// Change how long a key is valid.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "set")]
struct KeySet {
    /// its id or its name, or the beginning of either
    #[argh(positional)]
    key: String,
    /// how long, from now on: 12h, 30d, 1y
    #[argh(option, arg_name = "duration", from_str_fn(span))]
    expires_in: Option<Duration>,
    /// for ever
    #[argh(switch)]
    never_expires: bool,
}

/// Delete a key. Its id stays dead: nobody will ever get it again.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "delete")]
struct KeyDelete {
    /// its id, the beginning of that, or its whole name
    #[argh(positional)]
    key: String,
    /// do not ask
    #[argh(switch)]
    yes: bool,
}

/// Let a key do what is about no bucket that there is.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "allow")]
struct KeyAllow {
    /// its id or its name, or the beginning of either
    #[argh(positional)]
    key: String,
    /// create buckets
    #[argh(switch)]
    create_bucket: bool,
}

/// Take back what a key was allowed.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "deny")]
struct KeyDeny {
    /// its id or its name, or the beginning of either
    #[argh(positional)]
    key: String,
    /// create buckets
    #[argh(switch)]
    create_bucket: bool,
}

/// `mews key`.
pub fn key(client: &Client, args: Key) -> Result<Done, Failure> {
    match args.command {
        KeyCommand::List(_) => Ok(Done::new(client.get("ListKeys", &[])?, keys)),
        KeyCommand::Info(args) => {
            let id = find::key(client, &args.key)?;
            let secret = if args.show_secret { "true" } else { "false" };
            let query = [("id", &*id), ("showSecretKey", secret)];
            Ok(Done::new(client.get("GetKeyInfo", &query)?, info))
        }
        KeyCommand::Create(args) => create(client, args),
        KeyCommand::Import(args) => import(client, args),
        KeyCommand::Rename(args) => {
            let id = find::key(client, &args.key)?;
            let json = update(client, &id, &json!({ "name": args.name }))?;
            Ok(Done::said(json, Page::new().line(format!("{id} is called {} now.", args.name))))
        }
        KeyCommand::Set(args) => {
            let validity = expire::change(args.expires_in, args.never_expires)?;
            let validity = validity.ok_or_else(|| {
                Failure::Usage("say --expires-in 30d, or --never-expires".to_owned())
            })?;
            let id = find::key(client, &args.key)?;
            let json = update(client, &id, &Value::Object(validity))?;
            let said = format!("{} expires: {}.", named(&json), expiry(&json));
            Ok(Done::said(json, Page::new().line(said)))
        }
        KeyCommand::Delete(args) => {
            let all = find::keys(client)?;
            let key = find::exactly(find::KEYS, &all, &args.key)?;
            let name = key.names.first().map(|name| format!(" ({name})")).unwrap_or_default();
            let shown = format!("{}{name}", key.id);
            confirm(args.yes, &format!("this deletes the access key {shown} for good"))?;
            let json = client.act("DeleteKey", &[("id", &key.id)])?;
            Ok(Done::said(json, Page::new().line(format!("{shown} is deleted."))))
        }
        KeyCommand::Allow(args) => permit(client, &args.key, "allow", args.create_bucket),
        KeyCommand::Deny(args) => permit(client, &args.key, "deny", args.create_bucket),
    }
}

fn update(client: &Client, id: &str, change: &Value) -> Result<Value, Failure> {
    client.post_at("UpdateKey", &[("id", id)], change)
}

/// The id of a key and its name.
fn named(key: &Value) -> String {
    format!("{} ({})", text(&key["accessKeyId"]), text(&key["name"]))
}

fn create(client: &Client, args: KeyCreate) -> Result<Done, Failure> {
    let mut body = expire::change(args.expires_in, false)?.unwrap_or_default();
    body.insert("name".to_owned(), json!(args.name));
    let json = client.post("CreateKey", &Value::Object(body))?;
    Ok(Done::new(json, if args.env { environment } else { created }))
}

fn import(client: &Client, args: KeyImport) -> Result<Done, Failure> {
    let mut secret = args.secret;
    if secret == "-" {
        secret.clear();
        let read = std::io::stdin().read_to_string(&mut secret);
        read.map_err(|error| Failure::Failed(format!("the standard input: {error}")))?;
        secret = secret.trim_end_matches(['\r', '\n']).to_owned();
    }
    let name = args.name.as_ref().unwrap_or(&args.id);
    let body = json!({ "accessKeyId": args.id, "secretAccessKey": secret, "name": name });
    let json = client.post("ImportKey", &body)?;
    Ok(Done::new(json, |key| {
        Page::new().line(format!("{} is there. {}", named(key), what_next(key)))
    }))
}

fn permit(client: &Client, key: &str, how: &str, create_bucket: bool) -> Result<Done, Failure> {
    if !create_bucket {
        return Err(Failure::Usage(
            "say what: --create-bucket. For the objects of a bucket see `mews bucket allow`"
                .to_owned(),
        ));
    }
    let id = find::key(client, key)?;
    let mut body = Map::new();
    body.insert(how.to_owned(), json!({ "createBucket": true }));
    let json = update(client, &id, &Value::Object(body))?;
    Ok(Done::new(json, |key| {
        let may = if key["permissions"]["createBucket"] == true { "may" } else { "may not" };
        Page::new().line(format!("{} {may} create buckets.", named(key)))
    }))
}

fn what_next(key: &Value) -> String {
    format!(
        "Let it use a bucket: mews bucket allow BUCKET --key {} --read",
        quoted(&text(&key["name"]))
    )
}

/// Of `CreateKey`.
fn created(key: &Value) -> Page {
    let rows = [
        ("access key", text(&key["accessKeyId"])),
        ("secret key", text(&key["secretAccessKey"])),
        ("name", text(&key["name"])),
        ("expires", expiry(key)),
    ];
    Page::new()
        .pairs(rows.map(|(name, value)| vec![name.to_owned(), value]).to_vec())
        .gap()
        .line(what_next(key))
}

/// Of `CreateKey`, for a shell.
fn environment(key: &Value) -> Page {
    let line = |page: Page, name: &str, value: &Value| {
        page.line(format!("export {name}={}", quoted(&text(value))))
    };
    let page = line(Page::new(), "AWS_ACCESS_KEY_ID", &key["accessKeyId"]);
    line(page, "AWS_SECRET_ACCESS_KEY", &key["secretAccessKey"])
}

/// A word that a shell takes as it is.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=_-.:@".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Of `ListKeys`.
fn keys(keys: &Value) -> Page {
    if list(keys).is_empty() {
        return Page::new().line("There is no access key. Make one: mews key create NAME");
    }
    let mut rows = vec![row(&["access key", "name", "created", "expires"])];
    for key in list(keys) {
        rows.push(vec![text(&key["id"]), text(&key["name"]), moment(&key["created"]), expiry(key)]);
    }
    Page::new().table(rows)
}

/// Of `GetKeyInfo`.
fn info(key: &Value) -> Page {
    let mut rows = vec![
        vec!["access key".to_owned(), text(&key["accessKeyId"])],
        vec!["name".to_owned(), text(&key["name"])],
    ];
    if !key["secretAccessKey"].is_null() {
        rows.push(vec!["secret key".to_owned(), text(&key["secretAccessKey"])]);
    }
    let creates = key["permissions"]["createBucket"] == true;
    rows.push(vec!["created".to_owned(), moment(&key["created"])]);
    rows.push(vec!["expires".to_owned(), expiry(key)]);
    rows.push(row(&["may create buckets", if creates { "yes" } else { "no" }]));
    let page = Page::new().pairs(rows).gap();
    if list(&key["buckets"]).is_empty() {
        return page.line(format!("It may use no bucket. {}", what_next(key)));
    }
    let mut rows = vec![row(&["bucket", "may", "its own name for it", "id"])];
    for bucket in list(&key["buckets"]) {
        let name = list(&bucket["globalAliases"]).first().map_or("-".to_owned(), text);
        let own: Vec<String> = list(&bucket["localAliases"]).iter().map(text).collect();
        let own = if own.is_empty() { "-".to_owned() } else { own.join(", ") };
        rows.push(vec![name, permissions(&bucket["permissions"]), own, id(&bucket["id"])]);
    }
    page.table(rows)
}

/// What a key may do with a bucket.
pub(super) fn permissions(permissions: &Value) -> String {
    let may = ["read", "write", "owner"].into_iter().filter(|what| permissions[*what] == true);
    let may: Vec<&str> = may.collect();
    if may.is_empty() { "nothing".to_owned() } else { may.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::Screen;

    fn plain(page: Page) -> String {
        page.render(Screen::default())
    }

    #[test]
    fn keys_are_listed_with_their_expiry() {
        let answer = json!([
            { "id": "GK1f", "name": "backup", "created": "2026-11-30T01:02:03.456Z", "expiration": null, "expired": false },
            { "id": "GK2e", "name": "old", "created": null, "expiration": "2026-01-01T00:00:00Z", "expired": true },
        ]);
        let expected = "\
access key  name    created               expires
GK1f        backup  2026-11-30T01:02:03Z  never
GK2e        old     -                     has expired
";
        assert_eq!(plain(keys(&answer)), expected);
        assert!(plain(keys(&json!([]))).contains("mews key create"));
    }

    #[test]
    fn a_key_shows_what_it_may_do() {
        let mut answer = json!({
            "accessKeyId": "GK1f", "name": "backup", "created": "2026-11-30T01:02:03Z",
            "expiration": "2027-11-30T01:02:03Z", "expired": false,
            "permissions": { "createBucket": true },
            "buckets": [{
                "id": "8e1a23f0c4d5b697aaaa", "globalAliases": ["photos"], "localAliases": ["mine"],
                "permissions": { "read": true, "write": true, "owner": false },
            }],
        });
        let expected = "\
access key          GK1f
name                backup
created             2026-11-30T01:02:03Z
expires             2027-11-30T01:02:03Z
may create buckets  yes

bucket  may          its own name for it  id
photos  read, write  mine                 8e1a23f0c4d5b697
";
        assert_eq!(plain(info(&answer)), expected);
        answer["secretAccessKey"] = json!("5ec2e7");
        answer["buckets"] = json!([]);
        let text = plain(info(&answer));
        assert!(text.contains("secret key          5ec2e7\n"), "{text}");
        assert!(text.contains("mews bucket allow BUCKET --key backup --read"), "{text}");
    }

    #[test]
    fn a_new_key_is_shown_with_its_secret_or_as_what_a_shell_reads() {
        let key = json!({
            "accessKeyId": "GK1f", "secretAccessKey": "5e/c+2", "name": "it's", "expiration": null,
        });
        let expected = "\
access key  GK1f
secret key  5e/c+2
name        it's
expires     never

Let it use a bucket: mews bucket allow BUCKET --key 'it'\\''s' --read
";
        assert_eq!(plain(created(&key)), expected);
        let expected = "export AWS_ACCESS_KEY_ID=GK1f\nexport AWS_SECRET_ACCESS_KEY=5e/c+2\n";
        assert_eq!(plain(environment(&key)), expected);
        assert_eq!(quoted("a'b c"), "'a'\\''b c'");
    }
}
