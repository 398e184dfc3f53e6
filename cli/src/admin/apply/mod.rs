//! `mews apply`: makes things as a file says they shall be.

mod file;
mod plan;

use std::{collections::BTreeMap, path::Path};

use argh::{ArgsInfo, FromArgs};
use serde_json::{Map, Value, json};

use self::{
    file::{PERMISSIONS, Wanted},
    plan::{Change, Documents, Found},
};
use super::{
    Client, Done, Failure, find,
    value::{list, text},
};
use crate::page::Page;

/// Make keys, buckets and the layout as a file says. What it does not name stays as it is; a second time, nothing changes.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "apply",
    example = "  {command_name} -f cluster.toml --diff && echo nothing to do\n  {command_name} -f cluster.toml",
    note = "The file:\n\n  [layout]\n  replication_factor = 3\n  zone_redundancy = \"maximum\"          # or a number\n  [layout.nodes.attic]                 # a host's name, or the beginning of an id\n  zone = \"home\"\n  capacity = \"2T\"                      # or gateway = true\n  tags = [\"ssd\"]\n\n  [keys.phone]\n  create_bucket = true\n  expires = 2030-01-31                 # or a time, or \"never\"\n  [keys.old]                           # taken over from another store\n  id = \"AKIAIOSFODNN7EXAMPLE\"\n  secret_file = \"old.secret\"           # beside this file\n\n  [buckets.photos]\n  aliases = [\"pictures\"]\n  local_aliases = {{ phone = [\"mine\"] }}  # names that single keys have for it\n  max_size = \"200G\"                    # or \"none\"\n  max_objects = 1000000\n  website = {{ index = \"index.html\", error = \"404.html\" }}   # or true, or false\n  public = {{ prefixes = [\"shared/\"] }}                      # everybody may read these; or true, or false\n  allow = {{ phone = [\"read\", \"write\"], old = [] }}         # read, write, owner; exactly these",
    error_code(0, "It is as the file says."),
    error_code(1, "Failed; with --diff also: something would change."),
    error_code(2, "The command line or the file makes no sense.")
)]
pub struct Apply {
    /// the file
    #[argh(option, short = 'f', arg_name = "file")]
    file: String,
    /// only say what would change; the exit code is 1 if anything would
    #[argh(switch)]
    diff: bool,
}

/// `mews apply`.
pub fn apply(client: &Client, args: &Apply) -> Result<Done, Failure> {
    let path = Path::new(&args.file);
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::Failed(format!("{}: {error}", args.file)))?;
    let wanted = file::read(&text).map_err(|problems| {
        let lines = problems.iter().map(|problem| format!("{}: {problem}", args.file));
        Failure::Unconfirmed(lines.collect::<Vec<_>>().join("\n"))
    })?;
    let found = look(client, &wanted)?;
    let changes = plan::changes(&wanted, &found)?;
    if !args.diff {
        Maker::new(client, path, &found).make(&changes)?;
    }
    let json = json!({ "applied": !args.diff, "changes": json!(changes) });
    let done = Done::said(json, told(&changes, args.diff));
    Ok(done.but((args.diff && !changes.is_empty()).then(String::new)))
}

fn told(changes: &[Change], diff: bool) -> Page {
    if changes.is_empty() {
        return Page::new().line("Nothing to change: it is as the file says.");
    }
    let page = changes.iter().fold(Page::new(), |page, change| page.line(change));
    let made = changes.iter().any(|change| matches!(change, Change::MakeKey { .. }));
    match (diff, made) {
        (true, _) => page.line("Nothing was changed: this is what would be."),
        (false, true) => page.line("A key's secret is shown by: mews key info KEY --show-secret"),
        (false, false) => page,
    }
}

/// What is there of what is wanted.
fn look(client: &Client, wanted: &Wanted) -> Result<Found, Failure> {
    let mut found = Found::default();
    let keys = find::keys(client)?;
    let granted = wanted.buckets.values().flat_map(|bucket| bucket.keys());
    for name in wanted.keys.keys().chain(granted) {
        let import = wanted.keys.get(name).and_then(|key| key.import.as_ref());
        let meant = |key: &&find::Named| match import {
            Some((id, _)) => key.id == *id,
            None => key.id == *name || key.names.contains(name),
        };
        let meant: Vec<&find::Named> = keys.iter().filter(meant).collect();
        match &meant[..] {
            [] => {}
            [key] => {
                let info = client.get("GetKeyInfo", &[("id", &key.id)])?;
                found.keys.insert(name.clone(), info);
            }
            several => {
                return Err(Failure::Failed(format!(
                    "{} access keys are called {name}: rename all but one with `mews key rename`",
                    several.len()
                )));
            }
        }
    }
    let buckets = client.get("ListBuckets", &[])?;
    for name in wanted.buckets.keys() {
        let called = |bucket: &&Value| {
            list(&bucket["globalAliases"]).iter().any(|alias| alias == name.as_str())
        };
        if let Some(bucket) = list(&buckets).iter().find(called) {
            let info = client.get("GetBucketInfo", &[("id", &text(&bucket["id"]))])?;
            found.buckets.insert(name.clone(), info);
        }
    }
    let has_layout = !wanted.nodes.is_empty()
        || wanted.replication_factor.is_some()
        || wanted.zone_redundancy.is_some();
    if has_layout {
        found.status = client.get("GetClusterStatus", &[])?;
        found.layout = client.get("GetClusterLayout", &[])?;
    }
    Ok(found)
}

/// Makes changes, and knows by their names what they are about.
struct Maker<'a> {
    client: &'a Client,
    /// The file, beside which secrets are.
    path: &'a Path,
    keys: BTreeMap<String, String>,
    buckets: BTreeMap<String, String>,
    version: u64,
}

impl<'a> Maker<'a> {
    fn new(client: &'a Client, path: &'a Path, found: &Found) -> Self {
        let ids = |all: &BTreeMap<String, Value>, id: &str| {
            all.iter().map(|(name, it)| (name.clone(), text(&it[id]))).collect()
        };
        Self {
            client,
            path,
            keys: ids(&found.keys, "accessKeyId"),
            buckets: ids(&found.buckets, "id"),
            version: found.layout["version"].as_u64().unwrap_or(0),
        }
    }

    fn make(&mut self, changes: &[Change]) -> Result<(), Failure> {
        self.lay_out(changes)?;
        for change in changes {
            self.one(change).map_err(|failure| match failure {
                Failure::Failed(reason) => Failure::Failed(format!(
                    "{change}\n{reason}\nWhat stands before that was done; mend this, and say the same again"
                )),
                other @ (Failure::Usage(_) | Failure::Unconfirmed(_)) => other,
            })?;
        }
        Ok(())
    }

    /// Stages what is about the layout, and applies it at once.
    fn lay_out(&self, changes: &[Change]) -> Result<(), Failure> {
        let (mut roles, mut parameters) = (Vec::new(), Map::new());
        for change in changes {
            if let Change::Role { id, zone, capacity, tags } = change {
                roles.push(json!({ "id": id, "zone": zone, "capacity": capacity, "tags": tags }));
            }
            if let Change::Parameters { replication_factor, zone_redundancy } = change {
                let copies = replication_factor.map(|copies| ("replicationFactor", json!(copies)));
                let zones = zone_redundancy.clone().map(|zones| ("zoneRedundancy", zones));
                let set = copies.into_iter().chain(zones);
                parameters.extend(set.map(|(name, value)| (name.to_owned(), value)));
            }
        }
        if roles.is_empty() && parameters.is_empty() {
            return Ok(());
        }
        let mut body = Map::from_iter([("roles".to_owned(), json!(roles))]);
        if !parameters.is_empty() {
            body.insert("parameters".to_owned(), Value::Object(parameters));
        }
        self.client.post("UpdateClusterLayout", &Value::Object(body))?;
        let version = self.version + 1;
        self.client.post("ApplyClusterLayout", &json!({ "version": version }))?;
        Ok(())
    }

    fn key<'b>(&'b self, name: &'b str) -> &'b str {
        self.keys.get(name).map_or(name, String::as_str)
    }

    fn bucket<'b>(&'b self, name: &'b str) -> &'b str {
        self.buckets.get(name).map_or(name, String::as_str)
    }

    fn update(&self, bucket: &str, change: &Value) -> Result<Value, Failure> {
        self.client.post_at("UpdateBucket", &[("id", self.bucket(bucket))], change)
    }

    fn one(&mut self, change: &Change) -> Result<(), Failure> {
        match change {
            // Done together.
            Change::Role { .. } | Change::Parameters { .. } => return Ok(()),
            Change::MakeKey { key } => {
                let made = self.client.post("CreateKey", &json!({ "name": key }))?;
                self.keys.insert(key.clone(), text(&made["accessKeyId"]));
            }
            Change::ImportKey { key, id, secret_file } => {
                let secret = self.secret(secret_file)?;
                let body = json!({ "accessKeyId": id, "secretAccessKey": secret, "name": key });
                self.client.post("ImportKey", &body)?;
                self.keys.insert(key.clone(), id.clone());
            }
            Change::CreateBucket { key, allow } => {
                let how = if *allow { "allow" } else { "deny" };
                let body = Map::from_iter([(how.to_owned(), json!({ "createBucket": true }))]);
                let query = [("id", self.key(key))];
                self.client.post_at("UpdateKey", &query, &Value::Object(body))?;
            }
            Change::Expiry { key, expiration } => {
                let body = match expiration {
                    None => json!({ "neverExpires": true }),
                    Some(at) => json!({ "expiration": at }),
                };
                self.client.post_at("UpdateKey", &[("id", self.key(key))], &body)?;
            }
            Change::MakeBucket { bucket } => {
                let made = self.client.post("CreateBucket", &json!({ "globalAlias": bucket }))?;
                self.buckets.insert(bucket.clone(), text(&made["id"]));
            }
            Change::Alias { bucket, alias } => {
                let body = json!({ "bucketId": self.bucket(bucket), "globalAlias": alias });
                self.client.post("AddBucketAlias", &body)?;
            }
            Change::LocalAlias { bucket, key, alias } => {
                let (bucket, key) = (self.bucket(bucket), self.key(key));
                let body = json!({ "bucketId": bucket, "accessKeyId": key, "localAlias": alias });
                self.client.post("AddBucketAlias", &body)?;
            }
            Change::Quotas { bucket, max_size, max_objects } => {
                let quotas = json!({ "maxSize": max_size, "maxObjects": max_objects });
                self.update(bucket, &json!({ "quotas": quotas }))?;
            }
            Change::Website { bucket, site, .. } => {
                let access = match site {
                    None => json!({ "enabled": false }),
                    Some(Documents { index, error }) => json!({
                        "enabled": true, "indexDocument": index, "errorDocument": error,
                    }),
                };
                self.update(bucket, &json!({ "websiteAccess": access }))?;
            }
            Change::Public { bucket, prefixes } => {
                let public = match prefixes {
                    None => json!({ "enabled": false }),
                    Some(prefixes) => json!({ "enabled": true, "prefixes": prefixes }),
                };
                self.update(bucket, &json!({ "publicRead": public }))?;
            }
            Change::Allow { bucket, key, permissions } => {
                self.permit("AllowBucketKey", bucket, key, *permissions)?;
            }
            Change::Deny { bucket, key, permissions } => {
                self.permit("DenyBucketKey", bucket, key, *permissions)?;
            }
        }
        Ok(())
    }

    fn permit(
        &self,
        call: &str,
        bucket: &str,
        key: &str,
        permissions: [bool; 3],
    ) -> Result<Value, Failure> {
        let named = PERMISSIONS.iter().zip(permissions);
        let permissions: Map<String, Value> =
            named.map(|(word, is)| ((*word).to_owned(), json!(is))).collect();
        let body = json!({
            "bucketId": self.bucket(bucket),
            "accessKeyId": self.key(key),
            "permissions": permissions,
        });
        self.client.post(call, &body)
    }

    fn secret(&self, file: &Path) -> Result<String, Failure> {
        let path = self.path.parent().unwrap_or(Path::new("")).join(file);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))?;
        Ok(text.trim().to_owned())
    }
}
