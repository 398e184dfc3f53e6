//! The command line of `mewsd` and `mewsd-smol`.

use core::net::{Ipv4Addr, SocketAddr};

use argh::FromArgs;

use crate::{daemon::config, s3::bucket::name};

/// What the process was asked to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Invocation {
    /// `quickstart`, with its arguments checked.
    Quickstart(Quickstart),
    /// `serve`: run what a configuration file describes.
    Serve {
        /// The file.
        config: String,
    },
    /// `check`: say what is wrong with a configuration file and start nothing.
    Check {
        /// The file.
        config: String,
    },
    /// `restore`: put the database of a snapshot back.
    Restore {
        /// The snapshot.
        from: String,
        /// The store.
        store: Store,
    },
    /// Print this on stdout and exit with 0: `--help`, `--version`, `config-reference`.
    Say(String),
    /// Print this on stderr and exit with [`EXIT_USAGE`].
    Misused(String),
}

/// Which store is meant.
#[derive(Debug, PartialEq, Eq)]
pub enum Store {
    /// The one that a configuration file describes.
    Config(String),
    /// Quickstart's, by its arguments.
    Quickstart(Quickstart),
}

/// Exit code: done.
pub const EXIT_DONE: u8 = 0;
/// Exit code: failed.
pub const EXIT_FAILED: u8 = 1;
/// Exit code: the command line makes no sense.
pub const EXIT_USAGE: u8 = 2;

/// Mews: a lightweight, geo-distributed, S3-compatible object store.
#[derive(FromArgs, Debug)]
#[argh(
    example = "Start a store in ./mews-data and print how to use it:\n  {command_name} quickstart",
    example = "Run what a configuration file describes, after a look at it:\n  {command_name} check --config mews.toml\n  {command_name} serve --config mews.toml",
    example = "Choose the place, the address, the bucket and the key:\n  {command_name} quickstart --dir /srv/mews --s3-addr 0.0.0.0:3900 \\\n    --bucket photos --access-key me --secret-key ...",
    error_code(0, "Done."),
    error_code(1, "Failed; the message says what to do."),
    error_code(2, "The command line makes no sense.")
)]
struct TopLevel {
    /// print the version and exit
    #[argh(switch)]
    version: bool,
    #[argh(subcommand)]
    command: Option<Command>,
}

#[derive(FromArgs, Debug)]
#[argh(subcommand)]
enum Command {
    Quickstart(Quickstart),
    Serve(Serve),
    Check(Check),
    Reference(Reference),
    Restore(Restore),
}

/// Put the metadata database of a snapshot back. The daemon must be stopped; the database that is there is kept beside it.
#[derive(FromArgs, Debug)]
#[argh(
    subcommand,
    name = "restore",
    example = "  {command_name} --config /etc/mews.toml --from 2026-03-01T12-00-00.000Z"
)]
struct Restore {
    /// the snapshot: its name in the directory of snapshots, or a path
    #[argh(option)]
    from: String,
    /// the configuration file of the store
    #[argh(option)]
    config: Option<String>,
    /// the directory of the store, if quickstart made it
    #[argh(option)]
    dir: Option<String>,
}

/// Print the reference of all options of a configuration file, as Markdown.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "config-reference")]
struct Reference {}

/// Run the node that a configuration file describes.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "serve", example = "  {command_name} --config /etc/mews.toml")]
struct Serve {
    /// the configuration file (default mews.toml)
    #[argh(option, default = "String::from(\"mews.toml\")")]
    config: String,
}

/// Say everything that is wrong with a configuration file and with what it names. Starts nothing, changes nothing.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "check", example = "  {command_name} --config /etc/mews.toml")]
struct Check {
    /// the configuration file (default mews.toml)
    #[argh(option, default = "String::from(\"mews.toml\")")]
    config: String,
}

const fn local(port: u16) -> SocketAddr {
    SocketAddr::V4(core::net::SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}

/// Start a working S3 store on this machine: one node, a bucket and a key. Started again on the same directory, it serves
/// what is there and changes nothing.
#[derive(FromArgs, Debug, Clone, PartialEq, Eq)]
#[argh(
    subcommand,
    name = "quickstart",
    example = "  {command_name} --dir /srv/mews --s3-addr 0.0.0.0:3900"
)]
pub struct Quickstart {
    /// where everything is kept (default ./mews-data)
    #[argh(option, default = "String::from(\"./mews-data\")")]
    pub dir: String,
    /// address of the S3 API (default 127.0.0.1:3900)
    #[argh(option, default = "local(3900)")]
    pub s3_addr: SocketAddr,
    /// address for other nodes (default 127.0.0.1:3901)
    #[argh(option, default = "local(3901)")]
    pub rpc_addr: SocketAddr,
    /// address of websites (default 127.0.0.1:3902, or none if that is taken)
    #[argh(option)]
    pub web_addr: Option<SocketAddr>,
    /// address of the Admin API (default 127.0.0.1:3903)
    #[argh(option, default = "local(3903)")]
    pub admin_addr: SocketAddr,
    /// bucket to create if it is missing (default at the first start: default)
    #[argh(option)]
    pub bucket: Option<String>,
    /// id of the access key to create if it is missing (default at the first start: a random one)
    #[argh(option)]
    pub access_key: Option<String>,
    /// secret of that access key
    #[argh(option)]
    pub secret_key: Option<String>,
}

/// Understands the command line. `program` is its first word, `args` the rest.
pub fn parse(program: &str, args: &[String]) -> Invocation {
    let program = program.rsplit('/').next().unwrap_or(program);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match TopLevel::from_args(&[program], &args) {
        Err(exit) if exit.status.is_ok() => Invocation::Say(exit.output),
        Err(exit) => Invocation::Misused(with_hint(program, &exit.output)),
        Ok(TopLevel { version: true, .. }) => {
            Invocation::Say(format!("{program} {}\n", env!("CARGO_PKG_VERSION")))
        }
        Ok(TopLevel { command: Some(Command::Quickstart(args)), .. }) => match args.check() {
            Ok(()) => Invocation::Quickstart(args),
            Err(reason) => Invocation::Misused(with_hint(program, &reason)),
        },
        Ok(TopLevel { command: Some(Command::Serve(Serve { config })), .. }) => {
            Invocation::Serve { config }
        }
        Ok(TopLevel { command: Some(Command::Check(Check { config })), .. }) => {
            Invocation::Check { config }
        }
        Ok(TopLevel { command: Some(Command::Reference(Reference {})), .. }) => {
            Invocation::Say(config::reference())
        }
        Ok(TopLevel { command: Some(Command::Restore(args)), .. }) => {
            let store = match (args.config, args.dir) {
                (Some(config), None) => Store::Config(config),
                (None, Some(dir)) => Store::Quickstart(Quickstart::of(dir)),
                (Some(_), Some(_)) | (None, None) => {
                    let reason = "Name the store by --config or by --dir.";
                    return Invocation::Misused(with_hint(program, reason));
                }
            };
            Invocation::Restore { from: args.from, store }
        }
        Ok(TopLevel { command: None, .. }) => {
            Invocation::Misused(with_hint(program, "Say what to do, for example `quickstart`."))
        }
    }
}

fn with_hint(program: &str, reason: &str) -> String {
    format!("{program}: {}\nRun `{program} --help` for what is understood.\n", reason.trim_end())
}

impl Quickstart {
    /// In this directory, and otherwise as usual.
    fn of(dir: String) -> Self {
        Self {
            dir,
            s3_addr: local(3900),
            rpc_addr: local(3901),
            web_addr: None,
            admin_addr: local(3903),
            bucket: None,
            access_key: None,
            secret_key: None,
        }
    }

    /// Where websites are to be.
    pub fn web(&self) -> SocketAddr {
        self.web_addr.unwrap_or_else(|| local(3902))
    }

    fn check(&self) -> Result<(), String> {
        if self.dir.is_empty() {
            return Err("--dir is empty".to_owned());
        }
        self.check_addresses()?;
        if let Some(bucket) = &self.bucket {
            name::check(bucket).map_err(|error| format!("--bucket {bucket}: {}", error.message))?;
        }
        match (&self.access_key, &self.secret_key) {
            (None, None) => Ok(()),
            (Some(id), Some(secret)) => check_key(id, secret),
            (Some(_), None) => Err("--access-key needs --secret-key beside it".to_owned()),
            (None, Some(_)) => Err("--secret-key needs --access-key beside it".to_owned()),
        }
    }

    /// No two of them may be the same. Port 0 means "any", and never collides.
    fn check_addresses(&self) -> Result<(), String> {
        let all = [
            ("--s3-addr", self.s3_addr),
            ("--rpc-addr", self.rpc_addr),
            ("--web-addr", self.web()),
            ("--admin-addr", self.admin_addr),
        ];
        for (i, (name, address)) in all.iter().enumerate() {
            if let Some((other, _)) =
                all[..i].iter().find(|(_, before)| before == address && address.port() != 0)
            {
                return Err(format!("{other} and {name} are both {address}"));
            }
        }
        Ok(())
    }
}

/// What is accepted as an access key: any text that survives an `Authorization` header.
fn check_key(id: &str, secret: &str) -> Result<(), String> {
    // The id stands between `Credential=` and the first `/`, and ends at a comma or blank.
    let id_ok = |b: u8| b.is_ascii_graphic() && !matches!(b, b'/' | b',' | b'=');
    if id.is_empty() || id.len() > 128 || !id.bytes().all(id_ok) {
        return Err("--access-key: 1 to 128 visible ASCII characters other than `/`, `,` and `=`"
            .to_owned());
    }
    if secret.len() < 8 || secret.len() > 256 || !secret.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("--secret-key: 8 to 256 visible ASCII characters".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str) -> Invocation {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse("/usr/bin/mewsd", &args)
    }

    fn misuse(line: &str) -> String {
        match run(line) {
            Invocation::Misused(text) => text,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn quickstart_has_defaults() {
        let Invocation::Quickstart(args) = run("quickstart") else { panic!("not understood") };
        assert_eq!(args.dir, "./mews-data");
        assert_eq!(args.s3_addr.to_string(), "127.0.0.1:3900");
        assert_eq!(args.admin_addr.to_string(), "127.0.0.1:3903");
        assert_eq!((args.web_addr, args.web().to_string().as_str()), (None, "127.0.0.1:3902"));
        assert_eq!((args.bucket, args.access_key), (None, None));
    }

    #[test]
    fn serve_and_check_take_a_file() {
        let config = || "mews.toml".to_owned();
        assert_eq!(run("serve"), Invocation::Serve { config: config() });
        assert_eq!(run("check --config mews.toml"), Invocation::Check { config: config() });
        let config = "/etc/m.toml".to_owned();
        assert_eq!(run("serve --config /etc/m.toml"), Invocation::Serve { config });
        assert!(misuse("serve mews.toml").contains("mews.toml"));
    }

    #[test]
    fn restore_takes_a_snapshot_and_a_store() {
        let Invocation::Restore { from, store } = run("restore --from x --dir d") else {
            panic!("not understood")
        };
        assert_eq!((from.as_str(), store), ("x", Store::Quickstart(Quickstart::of("d".into()))));
        let Invocation::Restore { store, .. } = run("restore --from x --config m") else {
            panic!("not understood")
        };
        assert_eq!(store, Store::Config("m".to_owned()));
        for line in ["restore --from x", "restore --from x --dir d --config m"] {
            assert!(misuse(line).contains("--config or by --dir"), "{line}");
        }
        assert!(misuse("restore --dir d").contains("--from"));
    }

    #[test]
    fn version_and_help_go_to_stdout() {
        let version = Invocation::Say(format!("mewsd {}\n", env!("CARGO_PKG_VERSION")));
        assert_eq!(run("--version"), version);
        let Invocation::Say(help) = run("--help") else { panic!("help is an error") };
        assert!(help.contains("mewsd quickstart --dir /srv/mews"), "no example in:\n{help}");
        let Invocation::Say(help) = run("quickstart --help") else { panic!("help is an error") };
        assert!(help.contains("--s3-addr"), "{help}");
    }

    #[test]
    fn mistakes_say_what_is_wrong() {
        for (line, says) in [
            ("", "quickstart"),
            ("serv", "serv"),
            ("quickstart --s3-addr nonsense", "s3-addr"),
            ("quickstart --s3-addr 127.0.0.1:3901", "--s3-addr and --rpc-addr are both"),
            ("quickstart --access-key a", "--secret-key"),
            ("quickstart --secret-key abcdefghi", "--access-key"),
            ("quickstart --access-key a/b --secret-key abcdefghi", "visible ASCII"),
            ("quickstart --access-key a --secret-key short", "8 to 256"),
            ("quickstart --bucket Photos", "--bucket Photos"),
            ("quickstart --bucket 127.0.0.1", "must not be an IP address"),
        ] {
            let text = misuse(line);
            assert!(text.contains(says), "{line}: {text}");
            assert!(text.contains("mewsd --help"), "{line}: {text}");
        }
    }

    #[test]
    fn any_port_never_collides() {
        let line = "quickstart --s3-addr 127.0.0.1:0 --rpc-addr 127.0.0.1:0";
        assert!(matches!(run(line), Invocation::Quickstart(_)));
    }
}
