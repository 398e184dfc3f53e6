//! Multipart uploads. An upload is a row under the object's key; its parts are rows of the same ring position, each with a block
//! list of its own. Completion moves no bytes: it writes the manifest, the object row and the closed upload in one batch.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html>

pub mod abort;
pub mod complete;
pub mod create;
pub mod list_parts;
pub mod list_uploads;
pub mod parts;
pub mod upload_part;

use serde::Serialize;

use crate::{
    checksum::{Algorithm, Checksum},
    id::{BucketId, VersionId},
    quorum,
    s3::{
        call::{Call, Target},
        error::{Code, S3Error},
    },
    store::{Guard, Op, Read, Table},
    table::{
        self, key,
        upload::{PartRow, UploadRow},
    },
    task::Cx,
    view::View,
};

/// The upload that a request names, whether or not there is one.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    /// Where its object is going to be.
    pub target: Target,
    /// Its id.
    pub upload: VersionId,
    /// The key of its row.
    pub row_key: Vec<u8>,
}

impl Named {
    /// The upload of the request's key and `uploadId`.
    pub fn by(call: &Call) -> Result<Self, S3Error> {
        let target = call.target();
        let id = call.request.query.get("uploadId").and_then(VersionId::from_hex);
        let upload = id.ok_or_else(no_such_upload)?;
        Ok(Self::at(target, upload))
    }

    /// The upload of this id of a key of a bucket with so many shards.
    pub fn of(bucket: BucketId, shards: u16, key: &[u8], upload: VersionId) -> Self {
        Self::at(Target::of(bucket, shards, key), upload)
    }

    fn at(target: Target, upload: VersionId) -> Self {
        let row_key = key::upload(target.bucket, target.shard, target.key(), upload);
        Self { target, upload, row_key }
    }

    /// The condition that it is still open when a batch is applied. Among several replicas its row may not have come to all.
    pub fn alive(&self, view: &View) -> Guard {
        let (table, key) = (Table::Upload, self.row_key.clone());
        if quorum::is_sole(view, self.target.position) {
            Guard::Live { table, key }
        } else {
            Guard::NotDeleted { table, key }
        }
    }

    /// The change of its row.
    pub fn merge(&self, row: &UploadRow) -> Op {
        Op::Merge {
            table: Table::Upload,
            key: self.row_key.clone(),
            value: table::encode(row),
            inline: None,
        }
    }

    /// Its row.
    pub async fn row(&self, cx: Cx, call: &Call) -> Result<UploadRow, S3Error> {
        let read = Read::Get(vec![(Table::Upload, self.row_key.clone())]);
        let answer = quorum::read(cx, &call.view, self.target.position, read).await?;
        match answer.into_values().into_iter().next().flatten() {
            Some(value) => Ok(table::decode(Table::Upload, &value)?),
            None => Err(no_such_upload()),
        }
    }

    /// At most `limit` of its parts, in order, from number `first` on: numbers, rows, and rows as they are stored.
    pub async fn parts(
        &self,
        cx: Cx,
        call: &Call,
        first: u16,
        limit: usize,
    ) -> Result<Vec<(u16, PartRow, Vec<u8>)>, S3Error> {
        let position = self.target.position;
        let read = Read::Scan {
            table: Table::Part,
            from: key::part(position, self.upload, first),
            // Beyond the last number there is.
            until: Some(key::part(position, self.upload, u16::MAX)),
            limit,
        };
        let answer = quorum::read(cx, &call.view, position, read).await?;
        let decoded = answer.into_rows().into_iter().map(|(row_key, value)| {
            let number = key::part_number(&row_key).expect("the key lies between two part keys");
            Ok((number, table::decode(Table::Part, &value)?, value))
        });
        decoded.collect()
    }
}

/// The error for an upload that never was, or is over.
pub(crate) fn no_such_upload() -> S3Error {
    S3Error::new(
        Code::NoSuchUpload,
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.",
    )
}

/// The number in a parameter such as `max-parts`, if it is given.
pub(crate) fn count(call: &Call, name: &'static str) -> Result<Option<u32>, S3Error> {
    let Some(text) = call.request.query.get(name).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    // 2³¹ and more is no integer to AWS, which counts with 32 signed bits.
    match text.parse::<i32>().ok().and_then(|number| u32::try_from(number).ok()) {
        Some(number) => Ok(Some(number)),
        None => Err(S3Error::invalid_argument(
            name,
            text,
            format!("Argument {name} must be an integer between 0 and 2147483647"),
        )),
    }
}

/// The key that the request names, as text.
pub(crate) fn key_text(call: &Call) -> &str {
    let key = call.request.key.as_deref().unwrap_or_default();
    std::str::from_utf8(key).expect("requests with other keys are refused when they are parsed")
}

/// An access key as the document element that AWS has for an account.
#[derive(Serialize)]
pub(crate) struct PersonXml {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "DisplayName")]
    name: String,
}

impl PersonXml {
    /// The access key of this id.
    pub fn of(key_id: &str) -> Self {
        Self { id: key_id.to_owned(), name: key_id.to_owned() }
    }
}

/// An additional checksum as elements of a document; empty without one.
#[derive(Default, Serialize)]
pub(crate) struct ChecksumXml {
    #[serde(rename = "ChecksumCRC32", skip_serializing_if = "Option::is_none")]
    crc32: Option<String>,
    #[serde(rename = "ChecksumCRC32C", skip_serializing_if = "Option::is_none")]
    crc32c: Option<String>,
    #[serde(rename = "ChecksumCRC64NVME", skip_serializing_if = "Option::is_none")]
    crc64nvme: Option<String>,
    #[serde(rename = "ChecksumSHA1", skip_serializing_if = "Option::is_none")]
    sha1: Option<String>,
    #[serde(rename = "ChecksumSHA256", skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(rename = "ChecksumType", skip_serializing_if = "Option::is_none")]
    scope: Option<&'static str>,
}

impl ChecksumXml {
    /// That of an object, with its type; of `parts` parts, if it is a multipart object.
    pub fn of_object(checksum: Option<&Checksum>, parts: Option<u16>) -> Self {
        let Some(checksum) = checksum else { return Self::default() };
        let scope = Some(checksum.scope.name());
        Self { scope, ..Self::value(checksum.algorithm, checksum.text(parts)) }
    }

    /// That of a part.
    pub fn of_part(checksum: Option<&Checksum>) -> Self {
        let Some(checksum) = checksum else { return Self::default() };
        Self::value(checksum.algorithm, checksum.text(None))
    }

    fn value(algorithm: Algorithm, text: String) -> Self {
        let mut elements = Self::default();
        let element = match algorithm {
            Algorithm::Crc32 => &mut elements.crc32,
            Algorithm::Crc32c => &mut elements.crc32c,
            Algorithm::Crc64Nvme => &mut elements.crc64nvme,
            Algorithm::Sha1 => &mut elements.sha1,
            Algorithm::Sha256 => &mut elements.sha256,
        };
        *element = Some(text);
        elements
    }
}
