//! What a daemon is to do. `quickstart`'s arguments come down to it, and so does a configuration file: from here on, the two
//! are the same.

use core::net::SocketAddr;

use crate::{
    block::files::{DataDir, DataFsync},
    daemon::{
        args::Quickstart,
        bounds::{Bounds, CONNECTIONS_MIN},
        identity::KeyPair,
        plan, quickstart,
        trouble::Trouble,
    },
    node::{ADMIN_CONNECTIONS, Api, Contact, REQUESTS_MAX},
    view::Config,
};

/// Everything that a start needs to know, checked.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Where quickstart keeps everything, and leaves its credentials. None where a file names each place.
    pub home: Option<String>,
    /// The directory of the database, of the keys and of what the node remembers about its cluster.
    pub meta: String,
    /// The directories of block files.
    pub data: Vec<DataDir>,
    /// The directory of snapshots. None is [`plan::SNAPSHOTS`] in `meta`.
    pub snapshots: Option<String>,
    /// When blocks become durable.
    pub data_fsync: DataFsync,
    /// The S3 API.
    pub s3: Option<Listen>,
    /// Websites.
    pub web: Option<Listen>,
    /// Other nodes.
    pub rpc: Listen,
    /// The Admin API.
    pub admin: Option<Listen>,
    /// How other nodes reach this one, `HOST:PORT`, if not by the address that it listens at.
    pub rpc_public: Option<String>,
    /// Nodes to begin with.
    pub bootstrap: Vec<Contact>,
    /// What all nodes of the cluster know. None takes it from the file [`plan::RPC_SECRET`], made at the first start.
    pub rpc_secret: Option<[u8; 32]>,
    /// The token of the Admin API that may do everything. None takes it from the file [`plan::ADMIN_TOKEN`], if there is a home.
    pub admin_token: Option<String>,
    /// The token that may read metrics, and nothing else.
    pub metrics_token: Option<String>,
    /// Whether metrics need a token also where [`Self::metrics_token`] is none.
    pub metrics_require_token: bool,
    /// What requests and background work go by.
    pub config: Config,
    /// What quickstart promises beyond a node that runs.
    pub quickstart: Option<Promise>,
}

impl Setup {
    /// The APIs that are served, and where.
    pub fn apis(&self) -> impl Iterator<Item = (Api, Listen)> + use<> {
        let all = [(Api::S3, self.s3), (Api::Web, self.web), (Api::Admin, self.admin)];
        all.into_iter().filter_map(|(api, listen)| Some((api, listen?)))
    }

    /// How many connections of clients an API may have; one more is answered with 503.
    pub fn connections(&self, api: Api, bounds: &Bounds) -> usize {
        // Visitors of websites are anybody: however many come, and however slowly they read, most connections and most of the
        // requests in flight are left to those who have keys. A connection has one request in flight at most.
        let visitors = (bounds.connections / 4).min(REQUESTS_MAX / 4);
        match api {
            Api::S3 if self.web.is_none() => bounds.connections,
            Api::S3 => CONNECTIONS_MIN.max(bounds.connections - visitors),
            Api::Web => visitors,
            Api::Admin => ADMIN_CONNECTIONS,
        }
    }
}

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The option, or the configuration's key, that says so.
    pub option: &'static str,
    /// The address.
    pub address: SocketAddr,
    /// Whether a daemon that cannot listen there goes on without: nobody has asked for it.
    pub dispensable: bool,
}

impl Listen {
    /// What there is to listen with; nothing if it could not be had, and is dispensable.
    ///
    /// # Errors
    /// Why it could not be had.
    pub fn or_without<T>(self, listener: Result<T, Trouble>) -> Result<Option<T>, Trouble> {
        match listener {
            Ok(listener) => Ok(Some(listener)),
            Err(trouble) if self.dispensable => {
                log::warn!("{trouble} This node goes on without.");
                Ok(None)
            }
            Err(trouble) => Err(trouble),
        }
    }
}

/// What quickstart makes sure of: a cluster of one if there is none yet, and in it a key and a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// `--bucket`.
    pub bucket: Option<String>,
    /// `--access-key` and `--secret-key`.
    pub key: Option<KeyPair>,
}

impl From<Quickstart> for Setup {
    fn from(args: Quickstart) -> Self {
        let dir = args.dir.trim_end_matches('/');
        // "/" is a directory, too.
        let within = |name: &str| format!("{dir}/{name}");
        let listen = |option, address| Listen { option, address, dispensable: false };
        // Few who try a store out look for websites, and many have something else at that port.
        let dispensable = args.web_addr.is_none();
        let web = Listen { dispensable, ..listen("--web-addr", args.web()) };
        let data = DataDir { path: within(plan::DATA), capacity: 1, read_only: false };
        let key = args.access_key.zip(args.secret_key).map(|(id, secret)| KeyPair { id, secret });
        Self {
            meta: within(plan::META),
            data: vec![data],
            snapshots: None,
            data_fsync: DataFsync::Batch,
            s3: Some(listen("--s3-addr", args.s3_addr)),
            web: Some(web),
            rpc: listen("--rpc-addr", args.rpc_addr),
            admin: Some(listen("--admin-addr", args.admin_addr)),
            rpc_public: None,
            bootstrap: Vec::new(),
            rpc_secret: None,
            admin_token: None,
            metrics_token: None,
            metrics_require_token: false,
            config: quickstart::config(),
            quickstart: Some(Promise { bucket: args.bucket, key }),
            home: Some(args.dir),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::{
        args::{self, Invocation},
        bounds::bounds,
    };

    fn setup(line: &str) -> Setup {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let Invocation::Quickstart(args) = args::parse("mewsd", &args) else {
            panic!("not understood")
        };
        Setup::from(args)
    }

    #[test]
    fn visitors_of_websites_leave_most_connections_to_keys() {
        let with = setup("quickstart");
        let without = Setup { web: None, ..with.clone() };
        let of = |setup: &Setup, files| {
            let bounds = bounds(files, 1 << 30, 4);
            [Api::S3, Api::Web, Api::Admin].map(|api| setup.connections(api, &bounds))
        };
        assert_eq!(of(&with, 1 << 20), [7680, 512, 64]);
        assert_eq!(of(&without, 1 << 20)[0], 8192);
        assert_eq!(of(&with, 144), [16, 4, 64], "however few there are");
    }

    #[test]
    fn an_address_that_nobody_asked_for_can_be_done_without() {
        let taken = || Err::<(), _>(Trouble::System { reason: "taken".to_owned() });
        let apis = |line| setup(line).apis().map(|(api, at)| (api, at.or_without(taken()).is_ok()));
        let asked: Vec<_> = apis("quickstart --web-addr 127.0.0.1:3902").collect();
        assert_eq!(asked, [(Api::S3, false), (Api::Web, false), (Api::Admin, false)]);
        let usual: Vec<_> = apis("quickstart").collect();
        assert_eq!(usual, [(Api::S3, false), (Api::Web, true), (Api::Admin, false)]);
    }
}
