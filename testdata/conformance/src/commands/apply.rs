//! `mews apply`.

use std::fs;

use serde_json::json;

use super::Keeper;

const FILE: &str = r#"
[layout]
zone_redundancy = "maximum"
[layout.nodes.NODE]
zone = "cellar"
capacity = "1G"

[keys.camera]
create_bucket = true
expires = 2090-01-31
[keys.moved]
id = "MOVEDKEY"
secret_file = "moved.secret"

[buckets.videos]
aliases = ["films"]
local_aliases = { camera = ["roll"] }
max_size = "10GiB"
website = { error = "404.html" }
public = { prefixes = ["trailers/"] }
allow = { camera = ["read", "write"], moved = ["read"] }
"#;

pub fn run(keeper: &Keeper) {
    let id = keeper.json(&["node", "id"])["id"].as_str().expect("an id").to_owned();
    let path = keeper.daemon.dir().join("cluster.toml");
    let file = path.display().to_string();
    let text = FILE.replace("NODE", &id[..8]);
    fs::write(&path, &text).expect("written");
    fs::write(keeper.daemon.dir().join("moved.secret"), "a-moved-secret\n").expect("written");
    let apply = ["apply", "-f", &file];
    let diff = ["apply", "-f", &file, "--diff"];

    let output = keeper.output(&diff);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    for line in [
        &format!("~ node {}: zone cellar, 953 MiB", &id[..16]),
        "~ layout: in as many zones as there are",
        "+ key camera",
        "~ key camera may create buckets",
        "~ key camera expires 2090-01-31T00:00:00Z",
        "+ key moved, taken over as MOVEDKEY",
        "+ bucket videos",
        "~ bucket videos is also called films",
        "~ bucket videos is called roll by camera",
        "~ bucket videos holds at most 10.0 GiB",
        "~ bucket videos is a website, errors 404.html",
        "~ bucket videos: everybody may read objects whose keys begin with trailers/",
        "~ bucket videos: camera may read, write",
        "~ bucket videos: moved may read",
        "Nothing was changed: this is what would be.",
    ] {
        assert!(said.contains(&format!("{line}\n")), "no `{line}`:\n{said}");
    }
    keeper.is_refused(&["bucket", "info", "videos"], 1, "no bucket is called videos");

    keeper.hears(&apply, "+ bucket videos\n");
    keeper.hears(&["bucket", "info", "films"], "at most 10.0 GiB");
    keeper.hears(&["bucket", "info", "films"], "objects whose keys begin with trailers/");
    keeper.hears(&["key", "info", "camera"], "films   read, write  roll");
    keeper.hears(&["key", "info", "camera"], "2090-01-31T00:00:00Z");
    keeper.hears(&["key", "info", "MOVEDKEY", "--show-secret"], "a-moved-secret");
    keeper.hears(&["layout", "show"], "cellar");
    // The second time, nothing changes.
    keeper.hears(&diff, "Nothing to change");
    keeper.hears(&apply, "Nothing to change");
    assert_eq!(keeper.json(&apply)["changes"], json!([]));

    let text = text.replace("[\"read\", \"write\"]", "[\"read\"]").replace("10GiB", "none");
    let text = text.replace("{ prefixes = [\"trailers/\"] }", "false");
    fs::write(&path, &text).expect("written");
    let expected = "~ bucket videos may grow as it likes\n- bucket videos is no longer public\n\
                    - bucket videos: camera may no longer write\n";
    assert_eq!(keeper.says(&apply), expected);
    keeper.hears(&apply, "Nothing to change");

    // Rules that the file has no word for stay.
    let rules =
        json!([{ "Redirect": { "ReplaceKeyWith": "moved.html", "HttpRedirectCode": 301 } }]);
    let access = json!({ "enabled": true, "indexDocument": "index.html", "routingRules": rules });
    let id = keeper.json(&["bucket", "info", "videos"])["id"].take();
    let change = json!({ "id": id, "body": { "websiteAccess": access } });
    keeper.json(&["json-api", "UpdateBucket", &change.to_string()]);
    keeper.hears(&apply, "~ bucket videos is a website, index index.html, errors 404.html\n");
    let config = keeper.json(&["bucket", "info", "videos"])["websiteConfig"].take();
    assert_eq!((&config["errorDocument"], &config["routingRules"]), (&json!("404.html"), &rules));

    fs::write(&path, "[buckets.b]\nmax_sise = 1\n").expect("written");
    keeper.is_refused(&apply, 2, "cluster.toml: line 2: unknown key max_sise");
}
