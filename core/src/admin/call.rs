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
    ($($(#[doc = $doc:literal])* $name:ident: $method:ident $(($($parameter:literal),*))?,)*) => {
        /// A call of the Admin API.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Call {
            $($(#[doc = $doc])* $name,)*
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

            /// What it is for.
            pub fn summary(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),*).trim_ascii(),)*
                }
            }

            /// How it is made.
            pub fn method(self) -> Method {
                match self {
                    $(Self::$name => Method::$method,)*
                }
            }

            /// What its query may say.
            pub fn parameters(self) -> &'static [&'static str] {
                match self {
                    $(Self::$name => &[$($($parameter),*)?],)*
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
    GetAdminTokenInfo: Get ("id", "search"),
    /// The token that asks.
    GetCurrentAdminTokenInfo: Get,
    /// Makes a token.
    CreateAdminToken: Post,
    /// Changes a token.
    UpdateAdminToken: Post ("id"),
    /// Deletes a token.
    DeleteAdminToken: Post ("id"),
    /// What runs on a node.
    GetNodeInfo: Get ("node"),
    /// What a node holds.
    GetNodeStatistics: Get ("node"),
    /// Begins, or cancels, a repair.
    LaunchRepairOperation: Post ("node"),
    /// Background work.
    ListWorkers: Post ("node"),
    /// One piece of it.
    GetWorkerInfo: Post ("node"),
    /// What can be set of it.
    GetWorkerVariable: Post ("node"),
    /// Sets one of these.
    SetWorkerVariable: Post ("node"),
    /// Copies the metadata while it is in use.
    CreateMetadataSnapshot: Post ("node"),
    /// Blocks that could not be fetched.
    ListBlockErrors: Get ("node"),
    /// What is known of a block.
    GetBlockInfo: Post ("node"),
    /// Tries now to fetch blocks.
    RetryBlockResync: Post ("node"),
    /// Gives up blocks, and every object that has one of them.
    PurgeBlocks: Post ("node"),
    /// Every access key.
    ListKeys: Get ("offset", "limit"),
    /// Every access key, with what it may do.
    ListKeysInfo: Get ("offset", "limit"),
    /// What an access key may do.
    GetKeyInfo: Get ("id", "search", "showSecretKey"),
    /// A new access key.
    CreateKey: Post,
    /// An access key of another store's.
    ImportKey: Post,
    /// Changes an access key's name, its expiration, and whether it may create buckets.
    UpdateKey: Post ("id"),
    /// Deletes an access key, for ever.
    DeleteKey: Post ("id"),
    /// Every bucket.
    ListBuckets: Get ("offset", "limit"),
    /// Every bucket, with what it holds and who may do what with it.
    ListBucketsInfo: Get ("offset", "limit"),
    /// What a bucket holds, and who may do what with it.
    GetBucketInfo: Get ("id", "globalAlias", "search"),
    /// A new bucket.
    CreateBucket: Post,
    /// Changes a bucket's quotas and website.
    UpdateBucket: Post ("id"),
    /// Deletes a bucket without objects.
    DeleteBucket: Post ("id"),
    /// Lets an access key do more with a bucket.
    AllowBucketKey: Post,
    /// Lets an access key do less with a bucket.
    DenyBucketKey: Post,
    /// Gives a bucket a name.
    AddBucketAlias: Post,
    /// Takes a name from a bucket.
    RemoveBucketAlias: Post,
    /// Aborts multipart uploads that have been open for long.
    CleanupIncompleteUploads: Post,
    /// How an object is stored.
    InspectObject: Get ("bucketId", "key"),
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
                | Self::DeleteKey
                | Self::DeleteBucket
        );
        self.method() == Method::Post && !bare
    }

    /// Whether it is about nodes, which its parameter `node` names.
    pub fn is_about_nodes(self) -> bool {
        self.parameters() == ["node"]
    }
}
