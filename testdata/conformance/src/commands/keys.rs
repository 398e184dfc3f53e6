//! Access keys.

use super::Keeper;

pub fn run(keeper: &Keeper) {
    keys_are_made_and_shown(keeper);
    keys_are_changed(keeper);
    keys_are_imported(keeper);
    keys_are_deleted(keeper);
}

fn keys_are_made_and_shown(keeper: &Keeper) {
    let made = keeper.json(&["key", "create", "phone"]);
    let id = made["accessKeyId"].as_str().expect("an id");
    let secret = made["secretAccessKey"].as_str().expect("a secret");
    keeper.hears(&["key", "list"], id);
    keeper.hears(&["key", "list"], "phone");
    for name in [id, &id[..10], "phone", "pho"] {
        let info = keeper.says(&["key", "info", name]);
        assert!(info.contains(id) && !info.contains(secret), "{name}: {info}");
    }
    keeper.hears(&["key", "info", "phone", "--show-secret"], secret);
    keeper.is_refused(&["key", "info", "fone"], 1, "no access key is called fone");
    let env = keeper.says(&["key", "create", "tablet", "--env", "--expires-in", "30d"]);
    let lines: Vec<&str> = env.lines().collect();
    let [id, secret] = lines[..] else { panic!("{env}") };
    assert!(id.starts_with("export AWS_ACCESS_KEY_ID="), "{env}");
    assert!(secret.starts_with("export AWS_SECRET_ACCESS_KEY="), "{env}");
    let info = keeper.json(&["key", "info", "tablet"]);
    assert!(info["expiration"].is_string() && info["expired"] == false, "{info}");
    keeper.is_refused(&["key", "create", "k", "--expires-in", "soon"], 2, "is no duration");
}

fn keys_are_changed(keeper: &Keeper) {
    keeper.hears(&["key", "rename", "tablet", "old tablet"], "is called old tablet now");
    keeper.hears(&["key", "set", "old tablet", "--never-expires"], "expires: never");
    keeper.hears(&["key", "set", "old tablet", "--expires-in", "1d"], "expires: 20");
    keeper.is_refused(&["key", "set", "old tablet"], 2, "say --expires-in 30d");
    keeper.hears(&["key", "allow", "phone", "--create-bucket"], "(phone) may create buckets");
    keeper.hears(&["key", "deny", "phone", "--create-bucket"], "(phone) may not create buckets");
    keeper.is_refused(&["key", "allow", "phone"], 2, "--create-bucket");
}

fn keys_are_imported(keeper: &Keeper) {
    let words = ["key", "import", "AKIAIOSFODNN7EXAMPLE", "a-foreign-secret", "--name", "foreign"];
    keeper.hears(&words, "AKIAIOSFODNN7EXAMPLE (foreign) is there.");
    keeper.hears(&["key", "info", "foreign", "--show-secret"], "a-foreign-secret");
    keeper.is_refused(&words, 1, "AKIAIOSFODNN7EXAMPLE");
}

fn keys_are_deleted(keeper: &Keeper) {
    let whole = "no access key is called fore. If foreign is meant, write its whole name";
    keeper.is_refused(&["key", "delete", "fore", "--yes"], 1, whole);
    keeper.is_refused(&["key", "delete", "foreign"], 2, "Add --yes if that is meant");
    keeper.hears(&["key", "delete", "foreign", "--yes"], "(foreign) is deleted.");
    keeper.is_refused(&["key", "info", "foreign"], 1, "no access key is called foreign");
    let again = ["key", "import", "AKIAIOSFODNN7EXAMPLE", "a-foreign-secret"];
    keeper.is_refused(&again, 1, "never");
}
