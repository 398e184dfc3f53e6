//! The commands for operators, as `argh` reads them.

use argh::FromArgs;

/// Who is there, with which role, and how it is.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "status")]
pub struct Status {}

/// Whether everything can be read and written. Fails if not; a cluster that is only degraded serves, so it does not fail.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "health")]
pub struct Health {
    /// say nothing, only give the exit code
    #[argh(switch, short = 'q')]
    pub quiet: bool,
}

/// Room on disks.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "stats")]
pub struct Stats {}

/// Nodes: connect, drain, replace, forget.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "node")]
pub struct Node {
    #[argh(subcommand)]
    pub command: NodeCommand,
}

#[derive(FromArgs, Debug)]
#[argh(subcommand)]
pub enum NodeCommand {
    Id(NodeId),
    Connect(NodeConnect),
    Drain(NodeDrain),
    Replace(NodeReplace),
    Forget(NodeForget),
}

/// Print ID@ADDRESS of the node that is asked, for `node connect` elsewhere.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "id")]
pub struct NodeId {}

/// Look for a node at this place: ID@HOST:PORT or HOST:PORT.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "connect")]
pub struct NodeConnect {
    #[argh(positional)]
    pub place: String,
}

/// Stage that a node gives its data to the others and leaves.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "drain")]
pub struct NodeDrain {
    #[argh(positional)]
    pub node: String,
}

/// Stage that a new node takes the place of an old one.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "replace")]
pub struct NodeReplace {
    #[argh(positional)]
    pub old: String,
    #[argh(positional)]
    pub new: String,
}

/// Forget a node that has no role any more.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "forget")]
pub struct NodeForget {
    #[argh(positional)]
    pub node: String,
}

/// The layout: which node holds how much, and the plan for changing that.
#[derive(FromArgs, Debug)]
#[argh(
    subcommand,
    name = "layout",
    example = "  {command_name} assign 1f3a --zone attic --capacity 2T\n  {command_name} plan\n  {command_name} apply --version 2 --wait"
)]
pub struct Layout {
    #[argh(subcommand)]
    pub command: LayoutCommand,
}

#[derive(FromArgs, Debug)]
#[argh(subcommand)]
pub enum LayoutCommand {
    Show(LayoutShow),
    Assign(LayoutAssign),
    Remove(LayoutRemove),
    Config(LayoutConfig),
    Plan(LayoutPlan),
    Apply(LayoutApply),
    Revert(LayoutRevert),
    History(LayoutHistory),
    SkipDeadNodes(LayoutSkip),
}

/// The layout in force, and what is staged.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "show")]
pub struct LayoutShow {}

/// Stage a role for a node.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "assign")]
pub struct LayoutAssign {
    /// the beginning of its id, or its host's name
    #[argh(positional)]
    pub node: String,
    /// nodes that are likely to fail together share a zone (default: the one it has)
    #[argh(option, short = 'z')]
    pub zone: Option<String>,
    /// bytes that it gives: 500G, 2T, 1TiB
    #[argh(option, short = 'c')]
    pub capacity: Option<String>,
    /// it serves requests and stores no objects
    #[argh(switch, short = 'g')]
    pub gateway: bool,
    /// also if the asked node has never heard of it
    #[argh(switch)]
    pub force: bool,
    /// words for people; may be repeated
    #[argh(option, short = 't')]
    pub tag: Vec<String>,
}

/// Stage that a node leaves.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "remove")]
pub struct LayoutRemove {
    #[argh(positional)]
    pub node: String,
}

/// Stage how many copies there are, and over how many zones they are spread.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "config")]
pub struct LayoutConfig {
    /// zones that each object is in: a number, or max
    #[argh(option, short = 'r')]
    pub redundancy: Option<String>,
    /// copies of each object
    #[argh(option)]
    pub replication_factor: Option<u16>,
    /// partitions, 256 to 4096; only before the first layout
    #[argh(option)]
    pub partitions: Option<u16>,
}

/// What applying the staged changes would mean.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "plan")]
pub struct LayoutPlan {}

/// Apply the staged changes.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "apply")]
pub struct LayoutApply {
    /// the number that the plan named, so that nothing else is applied by mistake (default: the next)
    #[argh(option)]
    pub version: Option<u64>,
    /// wait until all nodes go by the new layout, and show how it goes; Ctrl-C ends the waiting, not the change
    #[argh(switch)]
    pub wait: bool,
}

/// Drop the staged changes.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "revert")]
pub struct LayoutRevert {}

/// The versions in force and before, and how far each node has got.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "history")]
pub struct LayoutHistory {}

/// No longer wait for nodes that are dead for good: those named, or all that have been down for a minute.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "skip-dead-nodes")]
pub struct LayoutSkip {
    /// one that is dead: the beginning of its id, or its host's name; may be repeated
    #[argh(option)]
    pub node: Vec<String>,
    /// for this version (default: the newest)
    #[argh(option)]
    pub version: Option<u64>,
    /// also give up data that only they have
    #[argh(switch)]
    pub allow_missing_data: bool,
    /// really do it
    #[argh(switch)]
    pub yes: bool,
}

/// Begin a thorough look: tables, blocks, versions, uploads, block-refs, counters, rebalance, or scrub.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "repair")]
pub struct Repair {
    /// what to repair
    #[argh(positional)]
    pub what: String,
    /// start (default), cancel; for scrub also pause, resume
    #[argh(positional)]
    pub action: Option<String>,
    /// on which node: the beginning of its id, self, or * for all
    #[argh(option, default = "String::from(\"self\")")]
    pub node: String,
}

/// Background work.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "worker")]
pub struct Worker {
    #[argh(subcommand)]
    pub command: WorkerCommand,
}

#[derive(FromArgs, Debug)]
#[argh(subcommand)]
pub enum WorkerCommand {
    List(WorkerList),
}

/// What runs, and what has failed.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "list")]
pub struct WorkerList {
    /// on which node: the beginning of its id, self, or * for all
    #[argh(option, default = "String::from(\"self\")")]
    pub node: String,
}

/// Blocks: which could not be fetched, what is known of one.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "block")]
pub struct Block {
    #[argh(subcommand)]
    pub command: BlockCommand,
}

#[derive(FromArgs, Debug)]
#[argh(subcommand)]
pub enum BlockCommand {
    ListErrors(BlockErrors),
    Info(BlockInfo),
    RetryNow(BlockRetry),
    Purge(BlockPurge),
}

/// Blocks that a node could not fetch.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "list-errors")]
pub struct BlockErrors {
    /// on which node: the beginning of its id, self, or * for all
    #[argh(option, default = "String::from(\"self\")")]
    pub node: String,
}

/// What a node knows of a block.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "info")]
pub struct BlockInfo {
    #[argh(positional)]
    pub hash: String,
    /// on which node: the beginning of its id, self, or * for all
    #[argh(option, default = "String::from(\"self\")")]
    pub node: String,
}

/// Try now to fetch blocks.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "retry-now")]
pub struct BlockRetry {
    /// which blocks
    #[argh(positional)]
    pub hashes: Vec<String>,
    /// all that could not be fetched
    #[argh(switch)]
    pub all: bool,
    /// on which node: the beginning of its id, self, or * for all
    #[argh(option, default = "String::from(\"self\")")]
    pub node: String,
}

/// Give up blocks that are lost for good: every object and every open upload that has one of them is deleted.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "purge")]
pub struct BlockPurge {
    /// which blocks
    #[argh(positional)]
    pub hashes: Vec<String>,
    /// really do it
    #[argh(switch)]
    pub yes: bool,
}

/// Make a call of the Admin API, and print its answer.
#[derive(FromArgs, Debug)]
#[argh(
    subcommand,
    name = "json-api",
    example = "  {command_name} GetClusterHealth\n  {command_name} ApplyClusterLayout '{{\"version\": 2}}'"
)]
pub struct JsonApi {
    /// the call's name
    #[argh(positional)]
    pub call: String,
    /// its body
    #[argh(positional)]
    pub body: Option<String>,
    /// for calls about nodes: the beginning of an id, self, or * for all
    #[argh(option)]
    pub node: Option<String>,
}
