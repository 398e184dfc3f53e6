//! What the program understands: one table, from which `--help`, the manual and completions are made.

use argh::{ArgsInfo, FromArgs};

use crate::{
    admin::{self, Client, Done, Failure},
    bench, doctor, manual, metrics,
};

/// The command line of Mews, a lightweight, geo-distributed, S3-compatible object store.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    example = "Look at the store that `mewsd quickstart` has started here:\n  {command_name} status",
    example = "Make a key that may read the bucket `default`:\n  {command_name} key create reader\n  {command_name} bucket allow default --key reader --read",
    example = "Put load on it:\n  {command_name} bench put --size 1KiB --connections 64",
    note = "--admin, --token, --dir and --json may stand anywhere on the command line.",
    error_code(0, "Done."),
    error_code(1, "Failed; the message says what to do."),
    error_code(2, "The command line makes no sense, or nobody has confirmed it.")
)]
pub struct TopLevel {
    /// print the version and exit
    #[argh(switch)]
    pub version: bool,
    /// where the Admin API is (default: MEWS_ADMIN_URL, or what the daemon of --dir has left there, or http://127.0.0.1:3903)
    #[argh(option)]
    pub admin: Option<String>,
    /// the admin token (default: MEWS_ADMIN_TOKEN, or what is in --dir)
    #[argh(option)]
    pub token: Option<String>,
    /// where `mewsd quickstart` keeps its store (default ./mews-data)
    #[argh(option)]
    pub dir: Option<String>,
    /// print JSON instead of a table
    #[argh(switch)]
    pub json: bool,
    #[argh(subcommand)]
    pub command: Option<Command>,
}

#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one of it in the life of a process")]
pub enum Command {
    Status(admin::cluster::Status),
    Health(admin::cluster::Health),
    Stats(admin::cluster::Stats),
    Node(admin::node::Node),
    Layout(admin::layout::Layout),
    Bucket(admin::bucket::Bucket),
    Key(admin::key::Key),
    Token(admin::token::Token),
    Repair(admin::repair::Repair),
    Worker(admin::worker::Worker),
    Block(admin::block::Block),
    Meta(admin::meta::Meta),
    Apply(admin::apply::Apply),
    JsonApi(admin::json_api::JsonApi),
    Metrics(metrics::Metrics),
    Completions(manual::Completions),
    Man(manual::Man),
    Bench(bench::Args),
    Doctor(doctor::Args),
}

/// Does what was asked for.
pub fn run(command: Command, target: admin::Target) -> Result<Done, Failure> {
    let client = || Client::new(target);
    match command {
        Command::Status(_) => admin::cluster::status(&client()?),
        Command::Health(args) => admin::cluster::health(&client()?, &args),
        Command::Stats(_) => admin::cluster::stats(&client()?),
        Command::Node(args) => admin::node::node(&client()?, args),
        Command::Layout(args) => admin::layout::layout(&client()?, args),
        Command::Bucket(args) => admin::bucket::bucket(&client()?, args),
        Command::Key(args) => admin::key::key(&client()?, args),
        Command::Token(args) => admin::token::token(&client()?, args),
        Command::Repair(args) => admin::repair::repair(&client()?, &args),
        Command::Worker(args) => admin::worker::worker(&client()?, args),
        Command::Block(args) => admin::block::block(&client()?, args),
        Command::Meta(args) => admin::meta::meta(&client()?, args),
        Command::Apply(args) => admin::apply::apply(&client()?, &args),
        Command::JsonApi(args) => admin::json_api::json_api(&client()?, &args),
        Command::Metrics(args) => Ok(Done::text(metrics::text(&args))),
        Command::Completions(args) => Ok(Done::text(manual::script(&args))),
        Command::Man(args) => manual::man(&args).map(Done::text).map_err(Failure::Failed),
        Command::Bench(args) => printed(bench::run(args)),
        Command::Doctor(args) => printed(doctor::run(args)),
    }
}

/// Of a command that has printed its report itself, row by row.
fn printed(result: Result<(), bench::Failure>) -> Result<Done, Failure> {
    match result {
        Ok(()) => Ok(Done::text(String::new())),
        Err(bench::Failure::Usage(reason)) => Err(Failure::Usage(reason)),
        Err(bench::Failure::Failed(reason)) => Err(Failure::Failed(reason)),
    }
}
