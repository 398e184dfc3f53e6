use std::collections::BTreeMap;

use super::*;
use crate::id::NodeId;

/// A machine with a few files and variables.
#[derive(Default)]
pub(super) struct Machine {
    env: BTreeMap<&'static str, &'static str>,
    files: BTreeMap<&'static str, (&'static str, u32)>,
}

const SECRET: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const TOKEN: &str = "a token that nobody guesses";

impl Machine {
    pub fn with_files() -> Self {
        let files = BTreeMap::from([
            (
                "/etc/mews/rpc_secret",
                (
                    concat!(
                        "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
                        "\n"
                    ),
                    0o600,
                ),
            ),
            ("/etc/mews/admin_token", ("0123456789abcdef-admin\n", 0o640)),
            ("/secrets/open", ("0123456789abcdef-open", 0o644)),
            ("/secrets/empty", ("\n", 0o600)),
        ]);
        Self { env: BTreeMap::new(), files }
    }

    pub fn read(&self, text: &str, mode: u32) -> Result<Checked, Problems> {
        let env = |name: &str| self.env.get(name).map(|value| (*value).to_owned());
        let file = |path: &str| match self.files.get(path) {
            Some((text, mode)) => {
                Ok(SecretFile { text: (*text).to_owned(), mode: 0o100_000 | mode })
            }
            None => Err("No such file or directory (os error 2)".to_owned()),
        };
        read(&Source { path: "mews.toml", text, mode: 0o100_000 | mode, env: &env, file: &file })
    }
}

fn setup(text: &str) -> Setup {
    match Machine::with_files().read(text, 0o600) {
        Ok(checked) => checked.setup,
        Err(problems) => panic!("{problems}"),
    }
}

fn problems(text: &str) -> String {
    match Machine::with_files().read(text, 0o600) {
        Ok(checked) => panic!("read as {checked:?}"),
        Err(problems) => problems.to_string(),
    }
}

const LEAST: &str = "metadata_dir = \"meta\"\ndata_dir = \"data\"\n";

/// What a person sees of a file.
fn seen(text: &str, mode: u32) -> String {
    match Machine::with_files().read(text, mode) {
        Ok(checked) => checked.notes.iter().map(|note| format!("note: {note}\n")).collect(),
        Err(problems) => format!("{problems}\n"),
    }
}

macro_rules! golden {
    ($($name:ident => $file:literal),* $(,)?) => { $(
        #[test]
        fn $name() {
            let text = include_str!(concat!("../../../../testdata/daemon/config/", $file, ".toml"));
            let golden = include_str!(concat!("../../../../testdata/daemon/config/", $file, ".txt"));
            assert_eq!(seen(text, 0o644), golden);
        }
    )* };
}

golden! {
    everything_that_is_wrong_is_said_at_once => "wrong",
    mistakes_in_directories_name_them => "directories",
    a_file_that_is_no_toml_is_told_where => "syntax",
    an_empty_file_is_told_what_it_needs => "empty",
    what_is_allowed_and_unwise_is_said_aloud => "aloud",
}

#[test]
fn the_sample_is_read_and_stands_in_the_readme() {
    let sample = include_str!("../../../../testdata/daemon/mews.toml");
    assert!(include_str!("../../../../README.md").contains(sample), "README.md shows another");
    let setup = setup(sample);
    assert_eq!((setup.meta.as_str(), setup.home), ("/var/lib/mews/meta", None));
    let data = DataDir { path: "/var/lib/mews/data".to_owned(), capacity: 1, read_only: false };
    assert_eq!(setup.data, [data]);
    assert_eq!(setup.rpc_secret.map(hex::encode).as_deref(), Some(SECRET));
    assert_eq!(setup.admin_token.as_deref(), Some("0123456789abcdef-admin"));
    assert_eq!(setup.rpc_public.as_deref(), Some("garage1.example.org:3901"));
    assert_eq!(setup.bootstrap.len(), 1);
    assert_eq!(setup.config.root_domain.as_deref(), Some("s3.example.org"));
    assert_eq!(
        setup.config,
        Config {
            root_domain: setup.config.root_domain.clone(),
            web: setup.config.web.clone(),
            ..Config::default()
        }
    );
    assert_eq!(setup.config.web.root_domain.as_deref(), Some("web.example.org"));
    let addresses = [setup.s3, Some(setup.rpc), setup.web, setup.admin]
        .map(|listen| listen.map(|l| l.address.to_string()));
    assert_eq!(
        addresses.map(Option::unwrap_or_default),
        ["[::]:3900", "[::]:3901", "[::]:3902", "127.0.0.1:3903"]
    );
}

#[test]
fn the_least_there_may_be_has_the_safe_defaults() {
    let setup = setup(LEAST);
    assert_eq!(setup.config, Config::default());
    assert_eq!(setup.data_fsync, DataFsync::Batch);
    assert_eq!((setup.s3, setup.web, setup.admin, setup.rpc_secret), (None, None, None, None));
    assert_eq!(setup.rpc.address.to_string(), RPC_ADDRESS);
    assert_eq!(setup.quickstart, None);
}

#[test]
fn every_value_comes_through() {
    let setup = setup(
        r#"
        metadata_dir = "/m//"
        data_dir = [
            { path = "/a/", capacity = "1.5T" },
            { path = "/b", capacity = 1_000 },
            { path = "/c", read_only = true },
        ]
        replication_factor = 2
        consistency_mode = "degraded"
        metadata_fsync = true
        metadata_auto_snapshot_interval = "1d 12h"
        metadata_snapshots_dir = "/mnt/copies/"
        data_fsync = "each"
        block_size = "4MiB"
        compression_level = "none"
        rpc_bind_addr = "127.0.0.1:4901"
        bootstrap_peers = [
            "abababababababababababababababababababababababababababababababab@10.0.0.1:3901",
            "[::1]:3901",
        ]
        [s3_api]
        api_bind_addr = "127.0.0.1:0"
        s3_region = "garage"
        s3_region_strict = true
        root_domain = ".S3.Garage.localhost"
        [s3_web]
        bind_addr = "127.0.0.1:4902"
        root_domain = ".web.garage.localhost"
        index = "start.html"
        "#,
    );
    assert_eq!(setup.meta, "/m");
    let dirs = setup.data.iter().map(|dir| (dir.path.as_str(), dir.capacity, dir.read_only));
    assert_eq!(
        dirs.collect::<Vec<_>>(),
        [("/a", 1_500_000_000_000, false), ("/b", 1000, false), ("/c", 1, true)]
    );
    assert_eq!(setup.data_fsync, DataFsync::Each);
    assert_eq!(setup.snapshots.as_deref(), Some("/mnt/copies"));
    let expected = Config {
        region: "garage".to_owned(),
        region_strict: true,
        root_domain: Some("s3.garage.localhost".to_owned()),
        web: Web {
            root_domain: Some("web.garage.localhost".to_owned()),
            index: "start.html".to_owned(),
        },
        block_size: 4 << 20,
        compression: None,
        consistency: Consistency::Degraded,
        replication_factor: 2,
        snapshot_interval: Some(Duration::from_secs(36 * 3600)),
        ..Config::default()
    };
    assert_eq!(setup.config, expected);
    assert_eq!(setup.web.map(|web| web.address.to_string()).as_deref(), Some("127.0.0.1:4902"));
    let ids = setup.bootstrap.iter().map(|contact| contact.id).collect::<Vec<_>>();
    assert_eq!(ids, [Some(NodeId([0xab; 32])), None]);
}

#[test]
fn an_interval_is_a_time_that_makes_sense() {
    for value in ["\"5s\"", "\"2 years\"", "3600", "\"\"", "\"400d\""] {
        let text = problems(&format!("{LEAST}metadata_auto_snapshot_interval = {value}\n"));
        let must =
            "metadata_auto_snapshot_interval must be a time from 10s to 366d, such as \"6h\"";
        assert!(text.starts_with("mews.toml:3: ") && text.contains(must), "{value}: {text}");
    }
}

#[test]
fn secrets_come_from_the_environment_before_the_file() {
    let text = format!("{LEAST}rpc_secret = \"{SECRET}\"");
    let mut machine = Machine::with_files();
    let secret = |machine: &Machine| {
        let checked = machine.read(&text, 0o600).map_err(|problems| problems.to_string())?;
        Ok::<_, String>(checked.setup.rpc_secret.expect("one of them"))
    };
    assert_eq!(secret(&machine).map(hex::encode).as_deref(), Ok(SECRET));
    let other = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";
    machine.env.insert("MEWS_RPC_SECRET", other);
    assert_eq!(secret(&machine), Ok([0xff; 32]));
    machine.env.insert("MEWS_RPC_SECRET_FILE", "/etc/mews/rpc_secret");
    assert!(
        secret(&machine)
            .expect_err("both")
            .contains("MEWS_RPC_SECRET and MEWS_RPC_SECRET_FILE are both set")
    );
    machine.env.remove("MEWS_RPC_SECRET");
    assert_eq!(secret(&machine).map(hex::encode).as_deref(), Ok(SECRET));
    machine.env.insert("MEWS_RPC_SECRET_FILE", "/nowhere");
    assert!(
        secret(&machine)
            .expect_err("missing")
            .contains("MEWS_RPC_SECRET_FILE: cannot read /nowhere: No such file")
    );
    machine.env.insert("MEWS_RPC_SECRET_FILE", "/secrets/empty");
    assert!(secret(&machine).expect_err("empty").contains("/secrets/empty is empty"));
}

#[test]
fn the_admin_token_needs_no_admin_table_when_the_environment_has_it() {
    let mut machine = Machine::default();
    machine.env.insert("MEWS_ADMIN_TOKEN", "0123456789abcdef0123456789abcdef");
    let checked = machine.read(LEAST, 0o644).expect("no secret is in the file");
    assert_eq!(checked.setup.admin_token.as_deref(), Some("0123456789abcdef0123456789abcdef"));
    machine.env.insert("MEWS_ADMIN_TOKEN", TOKEN);
    let problems = machine.read(LEAST, 0o644).expect_err("blanks do not survive a header");
    assert!(problems.to_string().contains("16 or more visible ASCII"), "{problems}");
}

#[test]
fn metrics_have_a_token_of_their_own() {
    let mut machine = Machine::with_files();
    let text = format!("{LEAST}[admin]\nmetrics_token_file = \"/etc/mews/admin_token\"");
    let read = |machine: &Machine, text: &str| machine.read(text, 0o600);
    let setup = read(&machine, &text).expect("it may stand alone").setup;
    assert_eq!(setup.metrics_token.as_deref(), Some("0123456789abcdef-admin"));
    assert_eq!((setup.admin_token, setup.metrics_require_token), (None, false));
    let needed = format!("{LEAST}[admin]\nmetrics_require_token = true");
    assert!(
        read(&machine, &needed).expect("no token is needed for it").setup.metrics_require_token
    );
    machine.env.insert("MEWS_ADMIN_TOKEN_FILE", "/etc/mews/admin_token");
    let problems = read(&machine, &text).expect_err("they must differ").to_string();
    assert!(problems.contains("admin_token and metrics_token are the same"), "{problems}");
    machine.env.insert("MEWS_METRICS_TOKEN", "fedcba9876543210");
    let setup = read(&machine, &text).expect("now they differ").setup;
    assert_eq!(setup.metrics_token.as_deref(), Some("fedcba9876543210"));
}

#[test]
fn metrics_that_strangers_can_read_are_said_aloud() {
    let notes = |rest: &str| {
        let text = format!("{LEAST}[admin]\napi_bind_addr = {rest}\n");
        Machine::with_files().read(&text, 0o600).expect("it is allowed").notes.join("\n")
    };
    assert!(notes("\"[::]:3903\"").contains("whoever reaches [admin] api_bind_addr"));
    for quiet in ["\"127.0.0.1:3903\"", "\"[::]:3903\"\nmetrics_require_token = true"] {
        assert!(!notes(quiet).contains("metrics"), "{quiet}");
    }
}

#[test]
fn secrets_that_everybody_can_read_are_refused_unless_that_is_wanted() {
    let inline = format!("{LEAST}rpc_secret = \"{SECRET}\"\n");
    let by_file = format!("{LEAST}[admin]\nadmin_token_file = \"/secrets/open\"\n");
    let mut machine = Machine::with_files();
    assert!(machine.read(&inline, 0o640).is_ok(), "the group may be the daemon's");
    for mode in [0o644, 0o604, 0o602, 0o601] {
        let text = machine.read(&inline, mode).expect_err("refused").to_string();
        assert!(text.starts_with("mews.toml:3: everybody can read mews.toml (mode 06"), "{text}");
        assert!(!text.contains(SECRET), "the message tells the secret");
    }
    let text = machine.read(&by_file, 0o600).expect_err("refused").to_string();
    assert!(text.contains("everybody can read /secrets/open (mode 0644): chmod 600"), "{text}");
    for text in [&inline, &by_file] {
        let allowing = format!("allow_world_readable_secrets = true\n{text}");
        assert!(machine.read(&allowing, 0o644).is_ok());
    }
    machine.env.insert("MEWS_ALLOW_WORLD_READABLE_SECRETS", "true");
    assert!(machine.read(&inline, 0o644).is_ok() && machine.read(&by_file, 0o644).is_ok());
}

#[test]
fn two_listeners_may_not_share_an_address() {
    let text = format!(
        "{LEAST}rpc_bind_addr = \"127.0.0.1:3900\"\n[s3_api]\napi_bind_addr = \"127.0.0.1:3900\"\n"
    );
    let text = problems(&text);
    assert_eq!(text, "mews.toml: [s3_api] api_bind_addr and rpc_bind_addr are both 127.0.0.1:3900");
}

mod hostile {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_makes_it_panic_and_no_secret_shows(text in "[a-z_=\"\\[\\]{}.,#\n 0-9é]{0,200}") {
            let secret = format!("rpc_secret = \"{SECRET}\"\n{text}");
            for text in [&text, &secret] {
                if let Err(problems) = Machine::with_files().read(text, 0o644) {
                    prop_assert!(!problems.list.is_empty());
                    prop_assert!(!problems.to_string().contains(SECRET));
                }
            }
        }
    }
}
