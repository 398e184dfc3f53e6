//! Where `mews` looks for the Admin API: at the address that the daemon has left in its directory.

use std::fs;

use super::Keeper;

pub fn run(mut keeper: Keeper) {
    let dir = keeper.daemon.dir().to_owned();
    let left = dir.join("meta/admin.url");
    let said = fs::read_to_string(&left).expect("the daemon left it");
    assert_eq!(said, format!("http://{}\n", keeper.daemon.admin()));
    // What is given goes before what is found.
    keeper.is_refused(&["status", "--admin", "http://127.0.0.1:1"], 1, "at http://127.0.0.1:1: ");

    // The store that quickstart began goes on with a file, and at another address.
    let config = dir.join("mews.toml");
    let at = dir.display();
    let mut text = format!(
        r#"
        metadata_dir = "{at}/meta"
        data_dir = "{at}/data"
        rpc_bind_addr = "127.0.0.1:0"
        [s3_api]
        api_bind_addr = "127.0.0.1:0"
        [admin]
        admin_token_file = "{at}/admin.token"
        "#
    );
    fs::write(&config, format!("{text}api_bind_addr = \"[::1]:0\"\n")).expect("written");
    keeper.daemon.restart_as_configured(&config);
    assert!(keeper.daemon.admin().is_ipv6());
    keeper.hears(&["status"], "Everything can be read and written");
    let port = keeper.daemon.admin().port();

    keeper.daemon.kill();
    let stale = format!("at http://[::1]:{port} (so says {}): ", left.display());
    keeper.is_refused(&["status"], 1, &stale);
    keeper.is_refused(&["status"], 1, "give --admin URL or MEWS_ADMIN_URL");

    text = text.replace("[admin]", "").replace("admin_token_file", "#");
    fs::write(&config, text).expect("written");
    keeper.daemon.start_again();
    assert!(!left.exists(), "there is no Admin API any more");
}
