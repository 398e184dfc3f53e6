//! `mews doctor s3`: asks an S3 endpoint for one thing after the other, and looks whether it did it, refused it, or only said so.
//!
//! What a store refuses, its users can do without. What it takes and does not do is found out when it is too late: a lock that locks
//! nothing, a checksum that checks nothing. So every probe looks at what came of it, not at the status alone.

mod conditions;
mod integrity;
mod meaning;
mod objects;
mod report;
mod session;

use argh::{ArgsInfo, FromArgs};

pub use crate::bench::Failure;
use crate::bench::target::{Place, Target};
use report::{Finding, Report};
use session::{Session, Trouble};

/// Find out what an endpoint really does.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "doctor")]
pub struct Args {
    #[argh(subcommand)]
    what: What,
}

#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
enum What {
    S3(S3),
}

/// Probe an S3 endpoint: what it honours, what it refuses, and what it silently ignores. Makes a bucket of its own and takes it away
/// again. Exit code 1 if anything is ignored or wrong.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "s3",
    example = "The store that `mewsd quickstart` has started here:\n  {command_name}",
    example = "Another endpoint, credentials from the environment, as JSON:\n  AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=... \\\n    {command_name} --endpoint http://10.0.0.2:9000 --json",
    example = "A key that may make no buckets:\n  {command_name} --bucket photos"
)]
pub struct S3 {
    /// where the store is (default http://127.0.0.1:3900)
    #[argh(option, default = "String::from(\"http://127.0.0.1:3900\")")]
    endpoint: String,
    /// a bucket that is there, instead of one of its own; below a prefix of its own
    #[argh(option)]
    bucket: Option<String>,
    /// region to sign for (default AWS_REGION, or us-east-1)
    #[argh(option)]
    region: Option<String>,
    /// access key id (default AWS_ACCESS_KEY_ID, or from --dir)
    #[argh(option)]
    access_key: Option<String>,
    /// its secret (default AWS_SECRET_ACCESS_KEY, or from --dir)
    #[argh(option)]
    secret_key: Option<String>,
    /// read the key from DIR/credentials, as quickstart leaves it (default ./mews-data)
    #[argh(option)]
    dir: Option<String>,
    /// print JSON
    #[argh(switch)]
    json: bool,
}

/// What a probe is: a feature's name, and how it is found out what becomes of it.
type Probe = (&'static str, fn(&mut Session) -> Result<Finding, Trouble>);

/// Runs the probes and prints what they found.
pub fn run(args: Args) -> Result<(), Failure> {
    let What::S3(args) = args.what;
    let own = format!("mews-doctor-{:x}", crate::bench::load::wall().0);
    let target = Target::new(&Place {
        endpoint: &args.endpoint,
        bucket: args.bucket.as_deref().unwrap_or(&own),
        region: args.region.as_deref(),
        access_key: args.access_key.as_deref(),
        secret_key: args.secret_key.as_deref(),
        dir: args.dir.as_deref(),
    })?;
    let prefix = if args.bucket.is_some() { format!("{own}/") } else { String::new() };
    let mut report = Report::new(&args.endpoint, args.json);
    let mut session = Session::open(target, prefix, args.bucket.is_none())?;
    let probes = [objects::PROBES, conditions::PROBES, integrity::PROBES, meaning::PROBES];
    let probed = probes.into_iter().flatten().try_for_each(|(feature, probe)| {
        let finding = probe(&mut session).unwrap_or_else(Finding::from);
        report.finding(feature, finding)
    });
    // What was put there is taken away again even when printing has failed.
    let cleaned = session.clean();
    probed?;
    report.finish()?;
    cleaned?;
    match report.bad() {
        0 => Ok(()),
        1 => Err(Failure::Failed("one feature is silently ignored or wrong".to_owned())),
        bad => Err(Failure::Failed(format!("{bad} features are silently ignored or wrong"))),
    }
}
