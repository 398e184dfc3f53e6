//! Where the load goes, and with which key.

use std::{
    fs,
    net::{SocketAddr, ToSocketAddrs},
    path::Path,
};

use mews_core::s3::sign::Signer;

use crate::bench::Failure;

/// An endpoint, a bucket and a key.
#[derive(Clone, Debug)]
pub struct Target {
    /// As given.
    pub endpoint: String,
    /// Where to connect to.
    pub addr: SocketAddr,
    /// The value of the Host header.
    pub host: String,
    /// The bucket.
    pub bucket: String,
    /// Signs with the key.
    pub signer: Signer,
}

/// What the command line says of a target.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The endpoint's URL.
    pub endpoint: &'a str,
    /// The bucket.
    pub bucket: &'a str,
    /// The region to sign for.
    pub region: Option<&'a str>,
    /// The access key's id.
    pub access_key: Option<&'a str>,
    /// Its secret.
    pub secret_key: Option<&'a str>,
    /// The directory with a credentials file.
    pub dir: Option<&'a str>,
}

impl Target {
    /// The target that the arguments, the environment and the credentials file describe.
    pub fn new(args: &Place<'_>) -> Result<Self, Failure> {
        let host = host(args.endpoint)?;
        let authority = if host.rsplit_once(':').is_some_and(|(_, port)| is_port(port)) {
            host.clone()
        } else {
            format!("{host}:80")
        };
        let addr = authority
            .to_socket_addrs()
            .map_err(|error| Failure::Failed(format!("{}: {error}", args.endpoint)))?
            .next()
            .ok_or_else(|| Failure::Failed(format!("{} has no address", args.endpoint)))?;
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
        if args.bucket.is_empty() || !args.bucket.chars().all(is_name) {
            return Err(Failure::Usage(format!("{} is no name for a bucket", args.bucket)));
        }
        let (key_id, secret) = key(args)?;
        let region = args
            .region
            .map(str::to_owned)
            .or_else(|| env("AWS_REGION"))
            .or_else(|| env("AWS_DEFAULT_REGION"))
            .unwrap_or_else(|| "us-east-1".to_owned());
        Ok(Self {
            endpoint: args.endpoint.to_owned(),
            addr,
            host,
            bucket: args.bucket.to_owned(),
            signer: Signer::new(key_id, secret, region),
        })
    }
}

/// The authority in the endpoint's URL.
fn host(endpoint: &str) -> Result<String, Failure> {
    let usage = |reason: String| Err(Failure::Usage(reason));
    if endpoint.starts_with("https://") {
        return usage(
            "the load generator speaks no TLS; name the http:// address behind the proxy"
                .to_owned(),
        );
    }
    let rest = endpoint.strip_prefix("http://").unwrap_or(endpoint);
    let host = rest.strip_suffix('/').unwrap_or(rest);
    if host.is_empty() || host.contains(['/', '@', '?', ' ']) {
        return usage(format!("{endpoint} is no endpoint such as http://127.0.0.1:3900"));
    }
    Ok(host.to_owned())
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// The key: from the arguments, from the directory if one is named, from the environment, from where quickstart leaves it.
fn key(args: &Place<'_>) -> Result<(String, String), Failure> {
    match (args.access_key, args.secret_key) {
        (Some(key_id), Some(secret)) => return Ok((key_id.to_owned(), secret.to_owned())),
        (None, None) => {}
        (Some(_), None) | (None, Some(_)) => {
            return Err(Failure::Usage("--access-key and --secret-key go together".to_owned()));
        }
    }
    if let Some(dir) = args.dir {
        return from_file(&Path::new(dir).join("credentials"));
    }
    if let (Some(key_id), Some(secret)) = (env("AWS_ACCESS_KEY_ID"), env("AWS_SECRET_ACCESS_KEY")) {
        return Ok((key_id, secret));
    }
    let left = Path::new("./mews-data/credentials");
    if left.exists() {
        return from_file(left);
    }
    Err(Failure::Failed(
        "no access key: give --access-key and --secret-key, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name the \
         directory of quickstart with --dir"
            .to_owned(),
    ))
}

fn from_file(path: &Path) -> Result<(String, String), Failure> {
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))?;
    parse(&text).ok_or_else(|| {
        Failure::Failed(format!(
            "{} holds no aws_access_key_id and aws_secret_access_key",
            path.display()
        ))
    })
}

/// The first key in a file of the form that AWS tools share.
fn parse(text: &str) -> Option<(String, String)> {
    let value = |name: &str| {
        let mut fields = text.lines().filter_map(|line| line.split_once('='));
        fields.find(|(each, _)| each.trim() == name).map(|(_, value)| value.trim().to_owned())
    };
    Some((value("aws_access_key_id")?, value("aws_secret_access_key")?))
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_quickstart_writes_is_understood() {
        let text = include_str!("../../../testdata/daemon/credentials.txt");
        assert_eq!(parse(text), Some(("GK0123".to_owned(), "5ec4e7".to_owned())));
        assert_eq!(parse("[default]\naws_access_key_id=a\n"), None);
    }

    #[test]
    fn endpoints_are_plain_http() {
        assert_eq!(host("http://127.0.0.1:3900/"), Ok("127.0.0.1:3900".to_owned()));
        assert_eq!(host("[::1]:3900"), Ok("[::1]:3900".to_owned()));
        for wrong in ["https://s3.amazonaws.com", "http://", "http://h/path", "ftp://h"] {
            assert!(matches!(host(wrong), Err(Failure::Usage(_))), "{wrong}");
        }
    }
}
