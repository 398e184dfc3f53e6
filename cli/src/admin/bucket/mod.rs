//! `mews bucket`.

mod args;
mod show;
pub mod site;

use serde_json::{Map, Value, json};

pub use args::Bucket;
use args::{
    BucketAlias, BucketCleanup, BucketCommand, BucketDelete, BucketInspect, BucketPublic,
    BucketSetQuotas, BucketUnalias, BucketWebsite,
};

use super::{
    Client, Done, Failure,
    confirm::confirm,
    find,
    key::permissions,
    value::{list, text},
};
use crate::page::Page;

/// `mews bucket`.
pub fn bucket(client: &Client, args: Bucket) -> Result<Done, Failure> {
    match args.command {
        BucketCommand::List(_) => Ok(Done::new(client.get("ListBuckets", &[])?, show::buckets)),
        BucketCommand::Info(args) => {
            let id = find::bucket(client, &args.bucket)?;
            Ok(Done::new(client.get("GetBucketInfo", &[("id", &id)])?, show::info))
        }
        BucketCommand::Create(args) => {
            let json = client.post("CreateBucket", &json!({ "globalAlias": args.name }))?;
            let said = format!(
                "The bucket {0} is there. Let a key use it: mews bucket allow {0} --key KEY --read --write",
                args.name
            );
            Ok(Done::said(json, Page::new().line(said)))
        }
        BucketCommand::Delete(args) => delete(client, &args),
        BucketCommand::Alias(args) => alias(client, &args),
        BucketCommand::Unalias(args) => unalias(client, &args),
        BucketCommand::Allow(args) => {
            let what = [args.read, args.write, args.owner];
            permit(client, "AllowBucketKey", &args.bucket, &args.key, what)
        }
        BucketCommand::Deny(args) => {
            let what = [args.read, args.write, args.owner];
            permit(client, "DenyBucketKey", &args.bucket, &args.key, what)
        }
        BucketCommand::Website(args) => website(client, &args),
        BucketCommand::SetQuotas(args) => set_quotas(client, &args),
        BucketCommand::Public(args) => public(client, &args),
        BucketCommand::CleanupIncompleteUploads(args) => clean_up(client, &args),
        BucketCommand::InspectObject(args) => inspect(client, &args),
    }
}

fn delete(client: &Client, args: &BucketDelete) -> Result<Done, Failure> {
    let all = find::buckets(client)?;
    let bucket = find::exactly(find::BUCKETS, &all, &args.bucket)?;
    let shown = match &bucket.names[..] {
        [] => bucket.id.clone(),
        names => names.join(", also known as "),
    };
    confirm(args.yes, &format!("this deletes the bucket {shown} for good"))?;
    let json = client.act("DeleteBucket", &[("id", &bucket.id)])?;
    Ok(Done::said(json, Page::new().line(format!("The bucket {shown} is deleted."))))
}

fn alias(client: &Client, args: &BucketAlias) -> Result<Done, Failure> {
    let id = find::bucket(client, &args.bucket)?;
    let (body, whose) = match &args.local {
        None => (json!({ "bucketId": id, "globalAlias": args.name }), String::new()),
        Some(key) => {
            let key = find::key(client, key)?;
            let whose = format!(" for the key {key}");
            (json!({ "bucketId": id, "localAlias": args.name, "accessKeyId": key }), whose)
        }
    };
    let json = client.post("AddBucketAlias", &body)?;
    let said = format!("The bucket {} is called {} now, too{whose}.", args.bucket, args.name);
    Ok(Done::said(json, Page::new().line(said)))
}

fn unalias(client: &Client, args: &BucketUnalias) -> Result<Done, Failure> {
    let buckets = client.get("ListBuckets", &[])?;
    let key = args.local.as_ref().map(|key| find::key(client, key)).transpose()?;
    let called = |bucket: &&Value| match &key {
        None => list(&bucket["globalAliases"]).iter().any(|alias| alias == args.name.as_str()),
        Some(key) => list(&bucket["localAliases"]).iter().any(|local| {
            local["accessKeyId"] == key.as_str() && local["alias"] == args.name.as_str()
        }),
    };
    let bucket = list(&buckets).iter().find(called).ok_or_else(|| {
        let who = key.as_ref().map(|key| format!(" by the key {key}")).unwrap_or_default();
        let name = &args.name;
        Failure::Failed(format!("no bucket is called {name}{who}. See `mews bucket list`"))
    })?;
    let id = text(&bucket["id"]);
    let body = match &key {
        None => json!({ "bucketId": id, "globalAlias": args.name }),
        Some(key) => json!({ "bucketId": id, "localAlias": args.name, "accessKeyId": key }),
    };
    let json = client.post("RemoveBucketAlias", &body)?;
    let said = format!("The bucket {id} is no longer called {}.", args.name);
    Ok(Done::said(json, Page::new().line(said)))
}

fn permit(
    client: &Client,
    call: &str,
    bucket: &str,
    key: &str,
    [read, write, owner]: [bool; 3],
) -> Result<Done, Failure> {
    if !(read || write || owner) {
        let reason = "say what: --read, --write, --owner, or several of them";
        return Err(Failure::Usage(reason.to_owned()));
    }
    let (bucket, key) = (find::bucket(client, bucket)?, find::key(client, key)?);
    let body = json!({
        "bucketId": bucket,
        "accessKeyId": key,
        "permissions": { "read": read, "write": write, "owner": owner },
    });
    let json = client.post(call, &body)?;
    Ok(Done::new(json, |bucket| {
        let grant = list(&bucket["keys"]).iter().find(|it| it["accessKeyId"] == key.as_str());
        let may = grant.map_or("nothing".to_owned(), |it| permissions(&it["permissions"]));
        let name = grant.map_or(key.clone(), |it| format!("{key} ({})", text(&it["name"])));
        Page::new().line(format!("In the bucket {}, {name} may: {may}.", show::name(bucket)))
    }))
}

fn website(client: &Client, args: &BucketWebsite) -> Result<Done, Failure> {
    let is_bare = args.index.is_none() && args.error.is_none();
    if args.allow == args.deny || args.deny && !is_bare {
        let reason = "say --allow, if need be with --index and --error; or --deny";
        return Err(Failure::Usage(reason.to_owned()));
    }
    let id = find::bucket(client, &args.bucket)?;
    let before = client.get("GetBucketInfo", &[("id", &id)])?["websiteConfig"].take();
    let access = if args.deny {
        json!({ "enabled": false })
    } else {
        if let Some(host) = site::moved(&before) {
            return Err(Failure::Failed(format!(
                "the website sends every request to {host}. End that first: mews bucket website {} --deny",
                args.bucket
            )));
        }
        // A call sets both: what is not named must be said as it is. Its rules stay by themselves.
        let index = args.index.as_deref().or(before["indexDocument"].as_str());
        let error = match args.error.as_deref() {
            Some("none") => None,
            named => named.or(before["errorDocument"].as_str()),
        };
        json!({
            "enabled": true,
            "indexDocument": index,
            "errorDocument": error,
        })
    };
    let json = update(client, &id, &json!({ "websiteAccess": access }))?;
    Ok(Done::new(json, |bucket| Page::new().line(site::changed(bucket, &before))))
}

fn public(client: &Client, args: &BucketPublic) -> Result<Done, Failure> {
    let change = match (args.read, args.off) {
        (true, false) => json!({ "enabled": true, "prefixes": args.prefix }),
        (false, true) if args.prefix.is_empty() => json!({ "enabled": false }),
        (true, true) | (false, true) | (false, false) => {
            let reason = "say --read, if need be with --prefix; or --off";
            return Err(Failure::Usage(reason.to_owned()));
        }
    };
    let id = find::bucket(client, &args.bucket)?;
    let json = update(client, &id, &json!({ "publicRead": change }))?;
    Ok(Done::new(json, |bucket| Page::new().line(show::public(bucket))))
}

fn set_quotas(client: &Client, args: &BucketSetQuotas) -> Result<Done, Failure> {
    let mut change = Map::new();
    if let Some(size) = &args.max_size {
        change.insert("maxSize".to_owned(), quota(size, mews_core::size::parse)?);
    }
    if let Some(objects) = &args.max_objects {
        let number = |text: &str| {
            text.parse::<u64>()
                .map_err(|_| format!("--max-objects {text}: it must be a number, or none"))
        };
        change.insert("maxObjects".to_owned(), quota(objects, number)?);
    }
    if change.is_empty() {
        let reason = "say --max-size, --max-objects, or both";
        return Err(Failure::Usage(reason.to_owned()));
    }
    let id = find::bucket(client, &args.bucket)?;
    // A call sets both: what is not named must be said as it is.
    let mut quotas = client.get("GetBucketInfo", &[("id", &id)])?["quotas"].take();
    if !quotas.is_object() {
        quotas = json!({ "maxSize": null, "maxObjects": null });
    }
    for (name, value) in change {
        quotas[name] = value;
    }
    let json = update(client, &id, &json!({ "quotas": quotas }))?;
    Ok(Done::new(json, |bucket| Page::new().line(show::quotas(bucket))))
}

fn quota(text: &str, parse: impl Fn(&str) -> Result<u64, String>) -> Result<Value, Failure> {
    if text == "none" {
        Ok(Value::Null)
    } else {
        parse(text).map(Value::from).map_err(Failure::Usage)
    }
}

fn update(client: &Client, id: &str, change: &Value) -> Result<Value, Failure> {
    client.post_at("UpdateBucket", &[("id", id)], change)
}

fn clean_up(client: &Client, args: &BucketCleanup) -> Result<Done, Failure> {
    if args.bucket.is_empty() {
        return Err(Failure::Usage("say which bucket, or several".to_owned()));
    }
    let all = find::buckets(client)?;
    let named = |wanted: &String| find::one(find::BUCKETS, &all, wanted);
    let buckets = args.bucket.iter().map(named).collect::<Result<Vec<_>, _>>()?;
    let (mut page, mut answers) = (Page::new(), Map::new());
    for bucket in buckets {
        let body = json!({ "bucketId": bucket.id, "olderThanSecs": args.older_than.as_secs() });
        let answer = client.post("CleanupIncompleteUploads", &body)?;
        let name = bucket.names.first().unwrap_or(&bucket.id);
        page = page.line(format!("{name}: {} uploads aborted.", text(&answer["uploadsDeleted"])));
        answers.insert(bucket.id.clone(), answer);
    }
    Ok(Done::said(Value::Object(answers), page))
}

fn inspect(client: &Client, args: &BucketInspect) -> Result<Done, Failure> {
    let id = find::bucket(client, &args.bucket)?;
    let json = client.get("InspectObject", &[("bucketId", &id), ("key", &args.object)])?;
    Ok(Done::new(json, show::object))
}
