//! Admin tokens.

use super::Keeper;

pub fn run(keeper: &Keeper) {
    let words = ["token", "create", "monitoring", "--scope", "GetClusterHealth,Metrics"];
    let made = keeper.json(&words);
    let secret = made["secretToken"].as_str().expect("a secret").to_owned();
    let id = made["id"].as_str().expect("an id").to_owned();
    keeper.hears(&["token", "list"], "monitoring");
    for name in [&id[..], &id[..6], "monitoring", "moni"] {
        let info = keeper.says(&["token", "info", name]);
        assert!(info.contains("GetClusterHealth") && !info.contains(&secret), "{info}");
    }
    // The token can do what it names, and no more.
    keeper.hears(&["health", "--token", &secret], "healthy: ");
    keeper.is_refused(&["node", "id", "--token", &secret], 1, "GetClusterStatus");
    let scope =
        ["token", "set", "monitoring", "--scope", "GetClusterStatus,GetCurrentAdminTokenInfo"];
    keeper.hears(&scope, "GetClusterStatus");
    keeper.hears(&["node", "id", "--token", &secret], "@");
    keeper.hears(&["token", "info", "--token", &secret], "monitoring");
    keeper
        .hears(&["token", "set", "monitoring", "--name", "m", "--expires-in", "1h"], "expires  20");
    keeper.hears(&["token", "set", "m", "--never-expires"], "expires  never");
    keeper.is_refused(&["token", "set", "m"], 2, "say what to change");
    keeper.is_refused(
        &["token", "create", "x", "--scope", "GetClusterHeath"],
        1,
        "GetClusterHealth",
    );
    keeper.is_refused(&["token", "delete", "m"], 2, "Add --yes if that is meant");
    keeper.hears(&["token", "delete", "m", "--yes"], "is deleted.");
    keeper.is_refused(&["node", "id", "--token", &secret], 1, "token");
}
