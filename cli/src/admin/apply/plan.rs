//! What would have to change for things to be as a file says.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
};

use mews_core::{placement::explain::Bytes, s3::date};
use serde::Serialize;
use serde_json::{Value, json};

use super::file::{Bucket, PERMISSIONS, Role, Site, Wanted};
use crate::admin::{
    Failure,
    bucket::site,
    find,
    value::{list, short, text, words},
};

/// What is there of what a file names.
#[derive(Debug, Default)]
pub struct Found {
    /// Keys by the names that the file has for them, as `GetKeyInfo` tells them.
    pub keys: BTreeMap<String, Value>,
    /// Buckets by the names that the file has for them, as `GetBucketInfo` tells them.
    pub buckets: BTreeMap<String, Value>,
    /// Of `GetClusterStatus`, if the file has a layout.
    pub status: Value,
    /// Of `GetClusterLayout`, if the file has a layout.
    pub layout: Value,
}

/// One thing that would have to change.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "change", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Change {
    /// A role in the layout.
    Role { id: String, zone: String, capacity: Option<u64>, tags: Vec<String> },
    /// How many copies there are, and where.
    Parameters { replication_factor: Option<u64>, zone_redundancy: Option<Value> },
    /// A key that is made.
    MakeKey { key: String },
    /// A key that is taken over.
    ImportKey { key: String, id: String, secret_file: PathBuf },
    /// Whether a key may make buckets.
    CreateBucket { key: String, allow: bool },
    /// From when on a key signs nothing; none is never.
    Expiry { key: String, expiration: Option<String> },
    /// A bucket that is made.
    MakeBucket { bucket: String },
    /// One more name.
    Alias { bucket: String, alias: String },
    /// One more name, which a single key has for it.
    LocalAlias { bucket: String, key: String, alias: String },
    /// How much fits in: both bounds, as they shall be.
    Quotas { bucket: String, max_size: Option<u64>, max_objects: Option<u64> },
    /// Whether it is a website: its index and error documents. And the rules that it has, which stay, or go with it.
    Website { bucket: String, site: Option<Documents>, rules: usize },
    /// What everybody may read: objects whose keys begin so, or all; none is nothing.
    Public { bucket: String, prefixes: Option<BTreeSet<String>> },
    /// What a key gets.
    Allow { bucket: String, key: String, permissions: [bool; 3] },
    /// What a key loses.
    Deny { bucket: String, key: String, permissions: [bool; 3] },
}

fn granted(permissions: [bool; 3]) -> String {
    let verbs = ["read", "write", "own"].into_iter().zip(permissions);
    let verbs: Vec<&str> = verbs.filter(|(_, is)| *is).map(|(verb, _)| verb).collect();
    verbs.join(", ")
}

/// The documents of a website.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Documents {
    /// The one that answers for a folder. None is what the cluster's configuration says.
    pub index: Option<String>,
    /// The one that is shown for an error.
    pub error: Option<String>,
}

impl Documents {
    /// Those that a website has.
    fn of(config: &Value) -> Self {
        let named = |name: &str| config[name].as_str().map(str::to_owned);
        Self { index: named("indexDocument"), error: named("errorDocument") }
    }

    /// Those that it shall have: what the file does not name stays.
    fn filled(wanted: &Site, config: &Value) -> Self {
        let Self { index, error } = Self::of(config);
        let Site { index: new_index, error: new_error } = wanted.clone();
        Self { index: new_index.or(index), error: new_error.unwrap_or(error) }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role { id, zone, capacity, tags } => {
                let gives = capacity.map_or("gateway".to_owned(), |it| Bytes(it).to_string());
                write!(f, "~ node {}: zone {zone}, {gives}", short(id))?;
                if tags.is_empty() { Ok(()) } else { write!(f, ", tags {}", tags.join(", ")) }
            }
            Self::Parameters { replication_factor, zone_redundancy } => {
                let copies = replication_factor.map(|copies| format!("{copies} copies"));
                let zones = zone_redundancy.as_ref().map(|zones| match zones.get("atLeast") {
                    Some(least) => format!("in at least {least} zones"),
                    None => "in as many zones as there are".to_owned(),
                });
                let said: Vec<String> = copies.into_iter().chain(zones).collect();
                write!(f, "~ layout: {}", said.join(" "))
            }
            Self::MakeKey { key } => write!(f, "+ key {key}"),
            Self::ImportKey { key, id, .. } => write!(f, "+ key {key}, taken over as {id}"),
            Self::CreateBucket { key, allow: true } => write!(f, "~ key {key} may create buckets"),
            Self::CreateBucket { key, allow: false } => {
                write!(f, "- key {key} may no longer create buckets")
            }
            Self::Expiry { key, expiration: None } => write!(f, "~ key {key} never expires"),
            Self::Expiry { key, expiration: Some(at) } => write!(f, "~ key {key} expires {at}"),
            Self::MakeBucket { bucket } => write!(f, "+ bucket {bucket}"),
            Self::Alias { bucket, alias } => write!(f, "~ bucket {bucket} is also called {alias}"),
            Self::LocalAlias { bucket, key, alias } => {
                write!(f, "~ bucket {bucket} is called {alias} by {key}")
            }
            Self::Quotas { bucket, max_size, max_objects } => {
                let size = max_size.map(|size| Bytes(size).to_string());
                let objects = max_objects.map(|objects| format!("{objects} objects"));
                let bounds: Vec<String> = size.into_iter().chain(objects).collect();
                match &bounds[..] {
                    [] => write!(f, "~ bucket {bucket} may grow as it likes"),
                    bounds => write!(f, "~ bucket {bucket} holds at most {}", bounds.join(" and ")),
                }
            }
            Self::Website { bucket, site: None, rules } => {
                write!(f, "- bucket {bucket} is no longer a website")?;
                if *rules == 0 {
                    Ok(())
                } else {
                    write!(f, ", and loses its {}", site::many(*rules))
                }
            }
            Self::Website { bucket, site: Some(Documents { index, error }), .. } => {
                write!(f, "~ bucket {bucket} is a website")?;
                index.as_ref().map_or(Ok(()), |index| write!(f, ", index {index}"))?;
                error.as_ref().map_or(Ok(()), |error| write!(f, ", errors {error}"))
            }
            Self::Public { bucket, prefixes: None } => {
                write!(f, "- bucket {bucket} is no longer public")
            }
            Self::Public { bucket, prefixes: Some(prefixes) } => {
                write!(f, "~ bucket {bucket}: everybody may read ")?;
                match &prefixes.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                    [] => f.write_str("every object"),
                    some => write!(f, "objects whose keys begin with {}", some.join(", ")),
                }
            }
            Self::Allow { bucket, key, permissions } => {
                write!(f, "~ bucket {bucket}: {key} may {}", granted(*permissions))
            }
            Self::Deny { bucket, key, permissions } => {
                write!(f, "- bucket {bucket}: {key} may no longer {}", granted(*permissions))
            }
        }
    }
}

/// The changes, in an order in which they can be made.
pub fn changes(wanted: &Wanted, found: &Found) -> Result<Vec<Change>, Failure> {
    let mut changes = layout(wanted, found)?;
    for (name, key) in &wanted.keys {
        let there = found.keys.get(name);
        match (there, &key.import) {
            (Some(_), _) => {}
            (None, None) => changes.push(Change::MakeKey { key: name.clone() }),
            (None, Some((id, secret_file))) => changes.push(Change::ImportKey {
                key: name.clone(),
                id: id.clone(),
                secret_file: secret_file.clone(),
            }),
        }
        let may = there.is_some_and(|key| key["permissions"]["createBucket"] == true);
        if let Some(allow) = key.create_bucket.filter(|allow| *allow != may) {
            changes.push(Change::CreateBucket { key: name.clone(), allow });
        }
        let at = there.and_then(|key| key["expiration"].as_str());
        let at = at.and_then(|at| date::parse_iso8601(at.as_bytes()));
        if let Some(expires) = key.expires.filter(|expires| *expires != at) {
            let expiration = expires.map(|at| date::iso8601(at).replace(".000Z", "Z"));
            changes.push(Change::Expiry { key: name.clone(), expiration });
        }
    }
    for (name, bucket) in &wanted.buckets {
        for key in bucket.keys() {
            if !wanted.keys.contains_key(key) && !found.keys.contains_key(key) {
                return Err(Failure::Failed(format!(
                    "bucket {name} is to be used by the key {key}, and there is no such key: add [keys.{key}] to the file"
                )));
            }
        }
        changes.extend(bucket_changes(name, bucket, found)?);
    }
    Ok(changes)
}

fn bucket_changes(name: &str, wanted: &Bucket, all: &Found) -> Result<Vec<Change>, Failure> {
    let mut changes = Vec::new();
    let name = name.to_owned();
    let nothing = Value::Null;
    let found = all.buckets.get(&name).unwrap_or(&nothing);
    if found.is_null() {
        changes.push(Change::MakeBucket { bucket: name.clone() });
    }
    for alias in &wanted.aliases {
        if !list(&found["globalAliases"]).iter().any(|there| there == alias.as_str()) {
            changes.push(Change::Alias { bucket: name.clone(), alias: alias.clone() });
        }
    }
    for (key, names) in &wanted.local_aliases {
        let grant = grant(found, all.keys.get(key));
        let has = grant.map(|grant| list(&grant["bucketLocalAliases"])).unwrap_or_default();
        for alias in names.iter().filter(|name| !has.iter().any(|has| has == name.as_str())) {
            let (bucket, key, alias) = (name.clone(), key.clone(), alias.clone());
            changes.push(Change::LocalAlias { bucket, key, alias });
        }
    }
    let there = |field: &str| found["quotas"][field].as_u64();
    let quotas = (there("maxSize"), there("maxObjects"));
    let max_size = wanted.max_size.unwrap_or(quotas.0);
    let max_objects = wanted.max_objects.unwrap_or(quotas.1);
    if (max_size, max_objects) != quotas {
        changes.push(Change::Quotas { bucket: name.clone(), max_size, max_objects });
    }
    let config = &found["websiteConfig"];
    let site = (found["websiteAccess"] == true).then(|| Documents::of(config));
    let website = wanted.website.as_ref();
    let website = website.map(|site| site.as_ref().map(|site| Documents::filled(site, config)));
    if let Some(wanted) = website.filter(|wanted| *wanted != site) {
        if let (Some(_), Some(host)) = (&wanted, site::moved(config)) {
            return Err(Failure::Failed(format!(
                "the website {name} sends every request to {host}. End that first: mews bucket website {name} --deny"
            )));
        }
        let rules = site::rules(config);
        changes.push(Change::Website { bucket: name.clone(), site: wanted, rules });
    }
    let public = (found["publicRead"]["enabled"] == true).then(|| {
        let prefixes = list(&found["publicRead"]["prefixes"]).iter();
        prefixes.map(text).collect::<BTreeSet<_>>()
    });
    if let Some(prefixes) = wanted.public.clone().filter(|wanted| *wanted != public) {
        changes.push(Change::Public { bucket: name.clone(), prefixes });
    }
    for (key, may) in &wanted.allow {
        changes.extend(permissions(&name, key, *may, grant(found, all.keys.get(key))));
    }
    Ok(changes)
}

/// What a bucket says of a key.
fn grant<'a>(bucket: &'a Value, key: Option<&Value>) -> Option<&'a Value> {
    let id = &key?["accessKeyId"];
    list(&bucket["keys"]).iter().find(|grant| grant["accessKeyId"] == *id)
}

/// What a key gets and what it loses.
fn permissions(bucket: &str, key: &str, may: [bool; 3], grant: Option<&Value>) -> Vec<Change> {
    let has = PERMISSIONS.map(|what| grant.is_some_and(|it| it["permissions"][what] == true));
    let gets = std::array::from_fn(|at| may[at] && !has[at]);
    let loses = std::array::from_fn(|at| has[at] && !may[at]);
    let (bucket, key) = (bucket.to_owned(), key.to_owned());
    let mut changes = Vec::new();
    if gets != [false; 3] {
        changes.push(Change::Allow { bucket: bucket.clone(), key: key.clone(), permissions: gets });
    }
    if loses != [false; 3] {
        changes.push(Change::Deny { bucket, key, permissions: loses });
    }
    changes
}

fn layout(wanted: &Wanted, found: &Found) -> Result<Vec<Change>, Failure> {
    let nodes = find::nodes_of(&found.status);
    let mut changes = Vec::new();
    for (name, role) in &wanted.nodes {
        let id = find::one(find::NODES, &nodes, name)?.id.clone();
        let there = list(&found.layout["roles"]).iter().find(|role| role["id"] == id.as_str());
        if there.is_none_or(|there| !same(there, role)) {
            let Role { zone, capacity, tags } = role.clone();
            changes.push(Change::Role { id, zone, capacity, tags });
        }
    }
    let there = &found.layout["parameters"];
    let copies = wanted.replication_factor.filter(|it| there["replicationFactor"] != *it);
    let zones = wanted.zone_redundancy.map(|zones| match zones {
        None => json!("maximum"),
        Some(least) => json!({ "atLeast": least }),
    });
    let zones = zones.filter(|zones| there["zoneRedundancy"] != *zones);
    if copies.is_some() || zones.is_some() {
        changes.push(Change::Parameters { replication_factor: copies, zone_redundancy: zones });
    }
    strangers(&changes, &found.layout)?;
    Ok(changes)
}

fn same(there: &Value, role: &Role) -> bool {
    there["zone"] == role.zone.as_str()
        && there["capacity"].as_u64() == role.capacity
        && words(&there["tags"]) == role.tags.join(", ")
}

/// Refuses if something is staged that the file does not say: it would be applied along with it.
fn strangers(changes: &[Change], layout: &Value) -> Result<(), Failure> {
    let ours = |staged: &Value| {
        changes.iter().any(|change| match change {
            Change::Role { id, zone, capacity, tags } => {
                let role = Role { zone: zone.clone(), capacity: *capacity, tags: tags.clone() };
                staged["id"] == id.as_str() && staged["remove"] != true && same(staged, &role)
            }
            Change::Parameters { .. }
            | Change::MakeKey { .. }
            | Change::ImportKey { .. }
            | Change::CreateBucket { .. }
            | Change::Expiry { .. }
            | Change::MakeBucket { .. }
            | Change::Alias { .. }
            | Change::LocalAlias { .. }
            | Change::Quotas { .. }
            | Change::Website { .. }
            | Change::Public { .. }
            | Change::Allow { .. }
            | Change::Deny { .. } => false,
        })
    };
    let sets = changes.iter().any(|change| matches!(change, Change::Parameters { .. }));
    let staged = list(&layout["stagedRoleChanges"]);
    if staged.iter().all(ours) && (sets || layout["stagedParameters"].is_null()) {
        return Ok(());
    }
    Err(Failure::Failed(
        "something else is staged in the layout: see `mews layout show`, then apply it, or drop it with `mews layout revert`"
            .to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::{super::file, *};

    const FILE: &str = r#"
        [layout]
        replication_factor = 3
        zone_redundancy = 2
        [layout.nodes.attic]
        zone = "home"
        capacity = "1T"
        [keys.phone]
        create_bucket = true
        expires = 2030-01-31
        [buckets.photos]
        aliases = ["pictures"]
        local_aliases = { phone = ["mine"] }
        max_size = "10G"
        website = true
        public = { prefixes = ["img/", "doc/"] }
        allow = { phone = ["read", "write"] }
    "#;

    fn status() -> Value {
        json!({ "nodes": [{ "id": "1f".repeat(32), "hostname": "attic" }] })
    }

    fn said(found: &Found) -> Vec<String> {
        let wanted = file::read(FILE).expect("it is right");
        let changes = changes(&wanted, found).expect("they can be made");
        changes.iter().map(Change::to_string).collect()
    }

    #[test]
    fn everything_is_made_where_nothing_is() {
        let found = Found { status: status(), ..Found::default() };
        let expected = [
            "~ node 1f1f1f1f1f1f1f1f: zone home, 931 GiB",
            "~ layout: 3 copies in at least 2 zones",
            "+ key phone",
            "~ key phone may create buckets",
            "~ key phone expires 2030-01-31T00:00:00Z",
            "+ bucket photos",
            "~ bucket photos is also called pictures",
            "~ bucket photos is called mine by phone",
            "~ bucket photos holds at most 9.3 GiB",
            "~ bucket photos is a website",
            "~ bucket photos: everybody may read objects whose keys begin with doc/, img/",
            "~ bucket photos: phone may read, write",
        ];
        assert_eq!(said(&found), expected);
    }

    fn as_wanted() -> Found {
        let key = json!({
            "accessKeyId": "GK1", "permissions": { "createBucket": true },
            "expiration": "2030-01-31T00:00:00Z",
        });
        let bucket = json!({
            "globalAliases": ["photos", "pictures"],
            "quotas": { "maxSize": 10_000_000_000_u64, "maxObjects": 5 },
            "websiteAccess": true,
            "websiteConfig": { "indexDocument": "index.html", "errorDocument": null },
            "publicRead": { "enabled": true, "prefixes": ["doc/", "img/"] },
            "keys": [{
                "accessKeyId": "GK1", "name": "phone", "bucketLocalAliases": ["mine"],
                "permissions": { "read": true, "write": true, "owner": false },
            }],
        });
        let layout = json!({
            "parameters": { "replicationFactor": 3, "zoneRedundancy": { "atLeast": 2 } },
            "roles": [{
                "id": "1f".repeat(32), "zone": "home", "capacity": 1_000_000_000_000_u64, "tags": [],
            }],
            "stagedRoleChanges": [], "stagedParameters": null,
        });
        Found {
            keys: [("phone".to_owned(), key)].into(),
            buckets: [("photos".to_owned(), bucket)].into(),
            status: status(),
            layout,
        }
    }

    #[test]
    fn nothing_changes_where_all_is_as_wanted() {
        assert_eq!(said(&as_wanted()), [""; 0]);
    }

    #[test]
    fn only_what_differs_changes_and_what_is_not_named_stays() {
        let mut found = as_wanted();
        let bucket = found.buckets.get_mut("photos").expect("it is there");
        bucket["keys"][0]["permissions"] = json!({ "read": true, "write": false, "owner": true });
        bucket["quotas"]["maxSize"] = Value::Null;
        let expected = [
            "~ bucket photos holds at most 9.3 GiB and 5 objects",
            "~ bucket photos: phone may write",
            "- bucket photos: phone may no longer own",
        ];
        assert_eq!(said(&found), expected);
    }

    #[test]
    fn what_is_public_is_exactly_what_the_file_names() {
        let said = |file: &str, there: Value| {
            let wanted = file::read(&format!("[buckets.photos]\n{file}\n")).expect("it is right");
            let mut found = as_wanted();
            found.buckets.get_mut("photos").expect("it is there")["publicRead"] = there;
            let changes = changes(&wanted, &found).expect("they can be made");
            changes.iter().map(Change::to_string).collect::<Vec<_>>()
        };
        let parts = || json!({ "enabled": true, "prefixes": ["doc/", "img/"] });
        let nothing = || json!({ "enabled": false, "prefixes": [] });
        assert_eq!(said("", parts()), [""; 0]);
        assert_eq!(
            said("public = true", parts()),
            ["~ bucket photos: everybody may read every object"]
        );
        assert_eq!(said("public = false", parts()), ["- bucket photos is no longer public"]);
        assert_eq!(
            said("public = { prefixes = [\"doc/\"] }", parts()),
            ["~ bucket photos: everybody may read objects whose keys begin with doc/"]
        );
        assert_eq!(said("public = false", nothing()), [""; 0]);
    }

    #[test]
    fn a_website_keeps_the_documents_that_are_not_named() {
        let mut found = as_wanted();
        let bucket = found.buckets.get_mut("photos").expect("it is there");
        bucket["websiteConfig"] =
            json!({ "indexDocument": "main.html", "errorDocument": "oops.html" });
        let said = |website: &str| {
            let wanted = file::read(&format!("[buckets.photos]\nwebsite = {website}\n"));
            let changes = changes(&wanted.expect("it is right"), &found).expect("they can be made");
            changes.iter().map(Change::to_string).collect::<Vec<_>>()
        };
        assert_eq!(said("true"), [""; 0]);
        assert_eq!(said("{ index = \"main.html\" }"), [""; 0]);
        let new = ["~ bucket photos is a website, index new.html, errors oops.html"];
        assert_eq!(said("{ index = \"new.html\" }"), new);
        assert_eq!(said("{ error = \"none\" }"), ["~ bucket photos is a website, index main.html"]);
    }

    #[test]
    fn a_website_keeps_its_rules_unless_it_is_none_any_more() {
        let mut found = as_wanted();
        let bucket = found.buckets.get_mut("photos").expect("it is there");
        bucket["websiteConfig"]["routingRules"] = json!([{}, {}]);
        assert_eq!(said(&found), [""; 0]);
        let wanted = file::read("[buckets.photos]\nwebsite = false\n").expect("it is right");
        let changes = changes(&wanted, &found).expect("they can be made");
        let expected = "- bucket photos is no longer a website, and loses its 2 routing rules";
        assert_eq!(changes.iter().map(Change::to_string).collect::<Vec<_>>(), [expected]);
    }

    #[test]
    fn a_redirect_of_everything_is_not_ended_by_a_file() {
        let site = "[buckets.photos]\nwebsite = { index = \"index.html\" }\n";
        let wanted = file::read(site).expect("it is right");
        let mut found = as_wanted();
        let bucket = found.buckets.get_mut("photos").expect("it is there");
        let all = json!({ "HostName": "o.example" });
        bucket["websiteConfig"] = json!({ "indexDocument": "", "redirectAllRequestsTo": all });
        let Err(Failure::Failed(text)) = changes(&wanted, &found) else { panic!("ended") };
        assert!(text.contains("mews bucket website photos --deny"), "{text}");
    }

    #[test]
    fn what_somebody_else_has_staged_is_not_applied_along_with_it() {
        let wanted = file::read(FILE).expect("it is right");
        let mut found = as_wanted();
        found.layout["stagedRoleChanges"] = json!([{ "id": "22", "remove": true }]);
        let Err(Failure::Failed(text)) = changes(&wanted, &found) else { panic!("applied") };
        assert!(text.contains("something else is staged"), "{text}");
        // What it has staged itself, before it was interrupted, is no obstacle.
        found.layout["roles"] = json!([]);
        found.layout["stagedRoleChanges"] = json!([{
            "id": "1f".repeat(32), "zone": "home", "capacity": 1_000_000_000_000_u64, "tags": [],
        }]);
        assert!(changes(&wanted, &found).is_ok());
    }

    #[test]
    fn a_key_that_is_nowhere_is_a_mistake() {
        let wanted = file::read("[buckets.b]\nallow = { ghost = [\"read\"] }\n");
        let wanted = wanted.expect("it is right");
        let Err(Failure::Failed(text)) = changes(&wanted, &Found::default()) else {
            panic!("made")
        };
        assert!(text.contains("add [keys.ghost]"), "{text}");
    }
}
