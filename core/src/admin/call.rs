//! The calls that there are.

/// How a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Looks only.
    Get,
    /// May change something.
    Post,
}

impl Method {
    /// As HTTP writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident: $method:ident,)*) => {
        /// A call of the Admin API.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Call {
            $($(#[$doc])* $name,)*
        }

        impl Call {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Its name in the path.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// How it is made.
            pub fn method(self) -> Method {
                match self {
                    $(Self::$name => Method::$method,)*
                }
            }
        }
    };
}

calls! {
    /// Every node that is known, with its role, and whether it is up.
    GetClusterStatus: Get,
    /// Whether everything can be read and written.
    GetClusterHealth: Get,
    /// Room on disks, for people.
    GetClusterStatistics: Get,
    /// Looks for nodes at these places.
    ConnectClusterNodes: Post,
    /// The layout in force, and what is staged.
    GetClusterLayout: Get,
    /// Stages roles and parameters.
    UpdateClusterLayout: Post,
    /// What applying would mean.
    PreviewClusterLayoutChanges: Post,
    /// Makes what is staged the next version.
    ApplyClusterLayout: Post,
    /// Drops what is staged.
    RevertClusterLayout: Post,
    /// The versions in force and those before, and how far each node has got.
    GetClusterLayoutHistory: Get,
    /// No longer waits for nodes that are down.
    ClusterLayoutSkipDeadNodes: Post,
    /// Stages that a node leaves. Ours, not Garage's.
    DrainNode: Post,
    /// Stages that a node takes the place of another. Ours, not Garage's.
    ReplaceNode: Post,
    /// Forgets a node without a role. Ours, not Garage's.
    ForgetNode: Post,
    /// The tokens of this API.
    ListAdminTokens: Get,
    /// A token, by its id or by a search.
    GetAdminTokenInfo: Get,
    /// The token that asks.
    GetCurrentAdminTokenInfo: Get,
    /// Makes a token.
    CreateAdminToken: Post,
    /// Changes a token.
    UpdateAdminToken: Post,
    /// Deletes a token.
    DeleteAdminToken: Post,
    /// What runs on a node.
    GetNodeInfo: Get,
    /// What a node holds.
    GetNodeStatistics: Get,
    /// Begins, or cancels, a repair.
    LaunchRepairOperation: Post,
    /// Background work.
    ListWorkers: Post,
    /// One piece of it.
    GetWorkerInfo: Post,
    /// What can be set of it.
    GetWorkerVariable: Post,
    /// Sets one of these.
    SetWorkerVariable: Post,
    /// Copies the metadata while it is in use.
    CreateMetadataSnapshot: Post,
    /// Blocks that could not be fetched.
    ListBlockErrors: Get,
    /// What is known of a block.
    GetBlockInfo: Post,
    /// Tries now to fetch blocks.
    RetryBlockResync: Post,
    /// Gives up blocks, and every object that has one of them.
    PurgeBlocks: Post,
}

impl Call {
    /// The call of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|call| call.name() == name)
    }

    /// Whether its body says something.
    pub fn takes_body(self) -> bool {
        let bare = matches!(
            self,
            Self::PreviewClusterLayoutChanges
                | Self::RevertClusterLayout
                | Self::DeleteAdminToken
                | Self::CreateMetadataSnapshot
        );
        self.method() == Method::Post && !bare
    }

    /// Whether it is about nodes, which its parameter `node` names.
    pub fn is_about_nodes(self) -> bool {
        self.parameters() == ["node"]
    }

    /// The parameters that its query may have.
    pub fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::GetNodeInfo
            | Self::GetNodeStatistics
            | Self::LaunchRepairOperation
            | Self::ListWorkers
            | Self::GetWorkerInfo
            | Self::GetWorkerVariable
            | Self::SetWorkerVariable
            | Self::CreateMetadataSnapshot
            | Self::ListBlockErrors
            | Self::GetBlockInfo
            | Self::RetryBlockResync
            | Self::PurgeBlocks => &["node"],
            Self::GetAdminTokenInfo => &["id", "search"],
            Self::UpdateAdminToken | Self::DeleteAdminToken => &["id"],
            Self::GetClusterStatus
            | Self::GetClusterHealth
            | Self::GetClusterStatistics
            | Self::ConnectClusterNodes
            | Self::GetClusterLayout
            | Self::UpdateClusterLayout
            | Self::PreviewClusterLayoutChanges
            | Self::ApplyClusterLayout
            | Self::RevertClusterLayout
            | Self::GetClusterLayoutHistory
            | Self::ClusterLayoutSkipDeadNodes
            | Self::DrainNode
            | Self::ReplaceNode
            | Self::ForgetNode
            | Self::ListAdminTokens
            | Self::GetCurrentAdminTokenInfo
            | Self::CreateAdminToken => &[],
        }
    }
}

/// Calls of Garage's that are not answered yet, so that the error can say so.
pub(super) const MISSING: [&str; 19] = [
    "ListKeys",
    "ListKeysInfo",
    "GetKeyInfo",
    "CreateKey",
    "ImportKey",
    "UpdateKey",
    "DeleteKey",
    "ListBuckets",
    "ListBucketsInfo",
    "GetBucketInfo",
    "CreateBucket",
    "UpdateBucket",
    "DeleteBucket",
    "CleanupIncompleteUploads",
    "AllowBucketKey",
    "DenyBucketKey",
    "AddBucketAlias",
    "RemoveBucketAlias",
    "InspectObject",
];
