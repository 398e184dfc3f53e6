//! The words of `mews bucket`.

use std::time::Duration;

use argh::{ArgsInfo, FromArgs};

use crate::admin::value::span;

/// Buckets: who may use them, what they are called, how much fits in.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "bucket",
    example = "  {command_name} create photos\n  {command_name} allow photos --key phone --read --write\n  {command_name} set-quotas photos --max-size 200G"
)]
pub struct Bucket {
    #[argh(subcommand)]
    pub command: BucketCommand,
}

#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
pub enum BucketCommand {
    List(BucketList),
    Info(BucketInfo),
    Create(BucketCreate),
    Delete(BucketDelete),
    Alias(BucketAlias),
    Unalias(BucketUnalias),
    Allow(BucketAllow),
    Deny(BucketDeny),
    Website(BucketWebsite),
    SetQuotas(BucketSetQuotas),
    Public(BucketPublic),
    CleanupIncompleteUploads(BucketCleanup),
    InspectObject(BucketInspect),
}

/// All buckets.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "list")]
pub struct BucketList {}

/// What is in a bucket, who may use it, and what it is called.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "info")]
pub struct BucketInfo {
    /// its name or its id, or the beginning of either
    #[argh(positional)]
    pub bucket: String,
}

/// Make a bucket. No key may use it yet: see `mews bucket allow`.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "create")]
pub struct BucketCreate {
    /// its name: 3 to 63 small letters, digits, hyphens and full stops
    #[argh(positional)]
    pub name: String,
}

/// Delete a bucket, which must be empty.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "delete")]
pub struct BucketDelete {
    /// its whole name, its id or the beginning of that
    #[argh(positional)]
    pub bucket: String,
    /// do not ask
    #[argh(switch)]
    pub yes: bool,
}

/// Give a bucket one more name, for everybody or for one key.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "alias",
    example = "  {command_name} photos pictures\n  {command_name} photos mine --local phone"
)]
pub struct BucketAlias {
    /// its name or its id, or the beginning of either
    #[argh(positional)]
    pub bucket: String,
    /// one more name
    #[argh(positional)]
    pub name: String,
    /// only this key calls it so
    #[argh(option, arg_name = "key")]
    pub local: Option<String>,
}

/// Take a name away from a bucket, which must have another.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "unalias")]
pub struct BucketUnalias {
    /// the whole name that goes
    #[argh(positional, arg_name = "bucket")]
    pub name: String,
    /// it is this key's name for it
    #[argh(option, arg_name = "key")]
    pub local: Option<String>,
}

/// Let a key use a bucket.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "allow", example = "  {command_name} photos --key phone --read --write")]
pub struct BucketAllow {
    /// its name or its id, or the beginning of either
    #[argh(positional)]
    pub bucket: String,
    /// the key: its id or its name, or the beginning of either
    #[argh(option)]
    pub key: String,
    /// read and list objects
    #[argh(switch)]
    pub read: bool,
    /// write and delete objects
    #[argh(switch)]
    pub write: bool,
    /// change the bucket's configuration, and delete it
    #[argh(switch)]
    pub owner: bool,
}

/// Take back what a key may do with a bucket.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "deny", example = "  {command_name} photos --key phone --write")]
pub struct BucketDeny {
    /// its name or its id, or the beginning of either
    #[argh(positional)]
    pub bucket: String,
    /// the key: its id or its name, or the beginning of either
    #[argh(option)]
    pub key: String,
    /// read and list objects
    #[argh(switch)]
    pub read: bool,
    /// write and delete objects
    #[argh(switch)]
    pub write: bool,
    /// change the bucket's configuration, and delete it
    #[argh(switch)]
    pub owner: bool,
}

/// Serve a bucket as a website, or no longer. What is not named stays as it is, routing rules among it.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "website",
    example = "  {command_name} blog --allow --error 404.html\n  {command_name} blog --deny"
)]
pub struct BucketWebsite {
    /// its name or its id, or the beginning of either
    #[argh(positional)]
    pub bucket: String,
    /// serve it
    #[argh(switch)]
    pub allow: bool,
    /// serve it no longer
    #[argh(switch)]
    pub deny: bool,
    /// the object that answers for a folder (default: the one it has, or the configuration's)
    #[argh(option, short = 'i', arg_name = "object")]
    pub index: Option<String>,
    /// the object that is shown for an error, or none
    #[argh(option, short = 'e', arg_name = "object")]
    pub error: Option<String>,
}

/// Limit how much fits in a bucket. What is not named stays as it is.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "set-quotas",
    example = "  {command_name} photos --max-size 200G --max-objects none"
)]
pub struct BucketSetQuotas {
    /// its name or its id, or the beginning of either
    #[argh(positional)]
    pub bucket: String,
    /// bytes: 500M, 10G, 1TiB, or none
    #[argh(option, arg_name = "size")]
    pub max_size: Option<String>,
    /// a number of objects, or none
    #[argh(option, arg_name = "number")]
    pub max_objects: Option<String>,
}

/// Let everybody read objects of a bucket, without a key. Nobody can list them so.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "public",
    example = "  {command_name} photos --read --prefix shared/\n  {command_name} photos --off"
)]
pub struct BucketPublic {
    /// its name or its id, or the beginning of either
    #[argh(positional)]
    pub bucket: String,
    /// everybody may read them
    #[argh(switch)]
    pub read: bool,
    /// only objects whose keys begin so, and what was public before no longer; may be given several times
    #[argh(option)]
    pub prefix: Vec<String>,
    /// nothing of it is public any more
    #[argh(switch)]
    pub off: bool,
}

/// Abort multipart uploads that were begun long ago and never completed.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "cleanup-incomplete-uploads")]
pub struct BucketCleanup {
    /// its name or its id, or the beginning of either
    #[argh(positional)]
    pub bucket: Vec<String>,
    /// how long ago: 12h, 1d (the default), 2w
    #[argh(
        option,
        arg_name = "duration",
        default = "Duration::from_secs(86_400)",
        from_str_fn(span)
    )]
    pub older_than: Duration,
}

/// All that is known of an object, its versions and blocks.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "inspect-object")]
pub struct BucketInspect {
    /// its bucket's name or id, or the beginning of either
    #[argh(positional)]
    pub bucket: String,
    /// its key
    #[argh(positional)]
    pub object: String,
}
