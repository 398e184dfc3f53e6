//! What the daemons print and write for people.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::{
    daemon::{identity::KeyPair, plan, quickstart::Prepared, setup::Setup},
    http::reject::Reject,
    id::NodeId,
    node::Api,
    view::Web,
};

/// Where a daemon listens, once it does.
#[derive(Clone, Debug)]
pub struct Bound {
    /// Other nodes.
    pub rpc: SocketAddr,
    /// The APIs that are served.
    pub apis: Vec<(Api, SocketAddr)>,
}

impl Bound {
    /// The address of an API, if that is served.
    pub fn of(&self, api: Api) -> Option<SocketAddr> {
        self.apis.iter().find(|(each, _)| *each == api).map(|(_, address)| *address)
    }
}

/// What a daemon says when it serves.
#[derive(Clone, Copy, Debug)]
pub struct Ready<'a> {
    /// What it does.
    pub setup: &'a Setup,
    /// Where it listens.
    pub bound: &'a Bound,
    /// Who it is.
    pub node: NodeId,
    /// The key and the bucket to show, if this is quickstart.
    pub prepared: Option<&'a Prepared>,
}

/// The URL at which a client on this machine reaches an address that we listen at.
pub fn endpoint(address: SocketAddr) -> String {
    format!("http://{}", connectable(address))
}

/// Where the websites are, one for each bucket that is allowed to be one.
fn websites(address: SocketAddr, web: &Web) -> String {
    match &web.root_domain {
        Some(root) => format!("http://BUCKET.{root}:{}", address.port()),
        None => format!("http://BUCKET:{}", address.port()),
    }
}

/// The address to connect to where a socket listens at `address`: an unspecified one is this machine's.
pub fn connectable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}

/// What a daemon prints on stdout when it serves.
pub fn ready(ready: &Ready<'_>) -> String {
    let Ready { setup, bound, node, prepared } = *ready;
    let dir = setup.home.as_deref();
    let version = env!("CARGO_PKG_VERSION");
    let from = dir.unwrap_or(&setup.meta);
    let mut text = format!("Mews {version} serves from {from}\n\n");
    if let Some(address) = bound.of(Api::S3) {
        text += &format!("  endpoint    {}\n", endpoint(address));
        text += &format!("  region      {}\n", setup.config.region);
    }
    if let Some(bucket) = prepared.and_then(|prepared| prepared.bucket.as_ref()) {
        text += &format!("  bucket      {bucket}\n");
    }
    if let Some(KeyPair { id, secret }) = prepared.and_then(|prepared| prepared.key.as_ref()) {
        text += &format!("  access key  {id}\n  secret key  {secret}\n");
    }
    if let Some(address) = bound.of(Api::Web) {
        text += &format!("  websites    {}\n", websites(address, &setup.config.web));
    }
    if let Some(address) = bound.of(Api::Admin) {
        text += &format!("  admin       {}\n", endpoint(address));
    }
    let rpc = setup.rpc_public.clone().unwrap_or_else(|| connectable(bound.rpc).to_string());
    text += &format!("  node        {node}@{rpc}\n");
    match (dir, prepared, bound.of(Api::S3)) {
        (Some(dir), Some(Prepared { key: Some(_), bucket }), Some(s3)) => {
            text += "\n";
            text += &to_try(dir, &endpoint(s3), &setup.config.region, bucket.as_deref());
        }
        (_, Some(Prepared { key: None, .. }), _) => {
            text += "\nThe key that quickstart once made was deleted. Start with --access-key and --secret-key to make another.\n";
        }
        (_, Some(Prepared { key: Some(_), .. }) | None, _) => {}
    }
    text += "\nStop with Ctrl-C.\n";
    text
}

/// What `check` prints on stdout when nothing is wrong.
pub fn fine(path: &str, notes: &[String]) -> String {
    let notes = notes.iter().map(|note| format!("note: {note}\n")).collect::<String>();
    format!("{path} is fine.\n{notes}")
}

fn to_try(dir: &str, endpoint: &str, region: &str, bucket: Option<&str>) -> String {
    let bucket = bucket.unwrap_or("BUCKET");
    let credentials = format!("{}/{}", dir.trim_end_matches('/'), plan::CREDENTIALS);
    format!(
        "To try it (the key is also in {credentials}):\n\n  \
         export AWS_SHARED_CREDENTIALS_FILE={credentials} AWS_ENDPOINT_URL={endpoint} AWS_REGION={region}\n  \
         echo hello | aws s3 cp - s3://{bucket}/hello.txt\n  \
         aws s3 ls s3://{bucket}/\n  \
         aws s3 cp s3://{bucket}/hello.txt -\n"
    )
}

/// The file [`plan::CREDENTIALS`]: what AWS tools read as a shared credentials file.
pub fn credentials(key: &KeyPair) -> String {
    format!(
        "# Made by mewsd quickstart. Keep it secret.\n[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
        key.id, key.secret
    )
}

/// The file [`plan::ADMIN_URL`]: where `mews` on this machine finds the Admin API that listens there.
pub fn admin_url(admin: SocketAddr) -> String {
    format!("{}\n", endpoint(admin))
}

/// Logged for each API when the process is asked to stop.
pub fn stopping(api: Api, open: usize) -> String {
    let s = if open == 1 { "" } else { "s" };
    let api = match api {
        Api::S3 => "the S3 API",
        Api::Web => "websites",
        Api::Admin => "the Admin API",
    };
    format!(
        "stopping: no new requests to {api}; {open} connection{s} open, at most {STOP_SECONDS} s to end"
    )
}

/// Logged when all has ended.
pub fn stopped(left: usize) -> String {
    match left {
        0 => "stopped".to_owned(),
        1 => "stopped; 1 connection was cut off".to_owned(),
        n => format!("stopped; {n} connections were cut off"),
    }
}

/// How long requests in flight may go on after a signal, in seconds.
pub const STOP_SECONDS: u64 = 10;

/// The answer to a connection beyond the bound.
pub const CROWDED: Reject = Reject::new(503, "Too many connections. Try again in a moment.");
/// The answer when the task of a request has panicked.
pub const BROKEN: Reject = Reject::new(500, "An internal error. It has been logged.");

/// What is logged at a start with a database that is older than what lies beside it. `alone` if no other node has anything.
pub fn older_database(alone: bool) -> &'static str {
    if alone {
        "the database is older than the rest of this node's files: it was put back from a copy, or begun anew. What was written \
         since then is not in it, and nobody else has it"
    } else {
        "the database is older than the rest of this node's files: it was put back from a copy, or begun anew. This node answers \
         for none of its rows before it has fetched from the others what was written since then. If it was a copy, what was \
         deleted since then may come back: to be sure, stop, move the database away, and start again"
    }
}

/// What is logged at a start after the machine went down while changes were not synced. `alone` if no other node has anything.
pub fn unsynced_lost(alone: bool) -> &'static str {
    if alone {
        "metadata_fsync was false when this machine went down: what was acknowledged in the last second before that may be lost"
    } else {
        "metadata_fsync was false when this machine went down: this node answers for none of its rows before it has fetched from the \
         others what was acknowledged in the last second before that"
    }
}

/// What a restore has done, and what comes now.
pub fn restored(from: &str, aside: Option<&str>) -> String {
    let kept = aside.map(|aside| format!("The database that was there is now {aside}.\n"));
    format!(
        "{from} is the metadata database now.\n{}Start the daemon: it knows that its database was put back. What was stored or deleted on \
         a node alone since the snapshot is as it was then; in a cluster, the node fetches what it lacks from the others.\n",
        kept.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::args::{self, Invocation};

    fn text(address: &str, prepared: &Prepared) -> String {
        let line = ["quickstart", "--s3-addr", address].map(str::to_owned);
        let Invocation::Quickstart(args) = args::parse("mewsd", &line) else {
            panic!("not understood");
        };
        let rpc = args.rpc_addr;
        let setup = Setup::from(args);
        let apis = setup.apis().map(|(api, listen)| (api, listen.address)).collect();
        let bound = Bound { rpc, apis };
        ready(&Ready {
            setup: &setup,
            bound: &bound,
            node: NodeId([0xab; 32]),
            prepared: Some(prepared),
        })
        .replace(env!("CARGO_PKG_VERSION"), "VERSION")
    }

    fn key() -> KeyPair {
        KeyPair { id: "GK0123".to_owned(), secret: "5ec4e7".to_owned() }
    }

    #[test]
    fn what_quickstart_prints_is_golden() {
        let prepared = Prepared { key: Some(key()), bucket: Some("default".to_owned()) };
        let golden = include_str!("../../../testdata/daemon/ready.txt");
        assert_eq!(text("127.0.0.1:3900", &prepared), golden);
        let prepared = Prepared { key: None, bucket: None };
        let golden = include_str!("../../../testdata/daemon/ready-without-key.txt");
        assert_eq!(text("[::]:3900", &prepared), golden);
    }

    #[test]
    fn the_credentials_file_is_golden() {
        let golden = include_str!("../../../testdata/daemon/credentials.txt");
        assert_eq!(credentials(&key()), golden);
    }

    #[test]
    fn endpoints_can_be_connected_to() {
        let of = |address: &str| endpoint(address.parse().expect("an address"));
        assert_eq!(of("0.0.0.0:80"), "http://127.0.0.1:80");
        assert_eq!(of("[::]:80"), "http://[::1]:80");
        assert_eq!(of("192.0.2.1:80"), "http://192.0.2.1:80");
        assert_eq!(admin_url("[::]:3903".parse().expect("an address")), "http://[::1]:3903\n");
    }

    #[test]
    fn stopping_counts() {
        assert!(stopping(Api::S3, 1).contains("1 connection open"));
        assert_eq!(stopped(0), "stopped");
        assert_eq!(stopped(2), "stopped; 2 connections were cut off");
    }
}
