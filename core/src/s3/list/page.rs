//! What ListObjects and ListObjectsV2 share: parameters, one page from the store, its elements.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use crate::{
    checksum::Checksum,
    effect::PeerError,
    quorum,
    s3::{bucket::list::Owner, call::Call, date, error::S3Error, request::KEY_MAX},
    store::{Entry, From, List, Listing, Table},
    table::{self, object::ObjectRow},
    task::Cx,
};

/// Entries on one page, at most and by default.
pub const MAX_KEYS: usize = 1000;

/// What `encoding-type=url` leaves as it is. A blank becomes `%20`, which both kinds of decoders understand.
const URL: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The parameters that every listing has.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// Only keys that begin with this.
    pub prefix: &'a str,
    /// Roll up at this.
    pub delimiter: &'a str,
    /// At most so many entries.
    pub max_keys: usize,
    /// Whether keys in the answer are percent-encoded.
    pub url: bool,
}

impl<'a> Asked<'a> {
    /// Reads them from a request; `max` names the parameter for the number of entries.
    pub fn read(call: &'a Call, max: &'static str) -> Result<Self, S3Error> {
        let query = &call.request.query;
        let max_keys = match query.get(max).filter(|text| !text.is_empty()) {
            None => MAX_KEYS,
            Some(text) => {
                let message = format!("Argument {max} must be an integer between 0 and 2147483647");
                let number =
                    text.parse::<i32>().ok().and_then(|number| usize::try_from(number).ok());
                let number = number.ok_or_else(|| S3Error::invalid_argument(max, text, message))?;
                number.min(MAX_KEYS)
            }
        };
        let url = match query.get("encoding-type") {
            None | Some("") => false,
            Some(kind) if kind.eq_ignore_ascii_case("url") => true,
            Some(kind) => {
                let message = "Invalid Encoding Method specified in Request";
                return Err(S3Error::invalid_argument("encoding-type", kind, message));
            }
        };
        let prefix = query.get("prefix").unwrap_or_default();
        let delimiter = query.get("delimiter").unwrap_or_default();
        Ok(Self { prefix, delimiter, max_keys, url })
    }

    /// A key, prefix or marker as it stands in the answer.
    pub fn text(&self, text: &str) -> String {
        if self.url { utf8_percent_encode(text, URL).to_string() } else { text.to_owned() }
    }

    /// The same of a key's bytes, which are UTF-8: other keys were never stored.
    pub fn key(&self, key: &[u8]) -> String {
        self.text(&String::from_utf8_lossy(key))
    }

    /// The element `EncodingType`.
    pub fn encoding(&self) -> Option<&'static str> {
        self.url.then_some("url")
    }

    /// The element `Delimiter`.
    pub fn delimiter_element(&self) -> Option<String> {
        (!self.delimiter.is_empty()).then(|| self.text(self.delimiter))
    }
}

/// One page of a listing of `table`.
pub async fn fetch(
    cx: Cx,
    call: &Call,
    table: Table,
    asked: &Asked<'_>,
    from: From,
) -> Result<Listing, S3Error> {
    // AWS says of a page of nothing that it is not truncated; and no key can match a prefix that is longer than any.
    if asked.max_keys == 0 || asked.prefix.len() > KEY_MAX {
        return Ok(Listing::default());
    }
    let bucket = call.bucket();
    let list = List {
        table,
        bucket: bucket.id,
        shards: (0..bucket.row.shards).collect(),
        prefix: asked.prefix.as_bytes().to_vec(),
        delimiter: asked.delimiter.as_bytes().to_vec(),
        from,
        limit: asked.max_keys,
        merged: false,
    };
    Ok(quorum::list(cx, &call.view, list).await?)
}

fn place(entry: &Entry) -> &[u8] {
    match entry {
        Entry::Row { key, .. } => key,
        Entry::CommonPrefix { prefix, .. } => prefix,
    }
}

/// Where a page ends: the key or common prefix after which the next one begins.
pub fn last(listing: &Listing) -> Option<&[u8]> {
    listing.entries.last().map(place)
}

/// The element `Contents`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Contents {
    key: String,
    last_modified: String,
    #[serde(rename = "ETag")]
    etag: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum_algorithm: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum_type: Option<&'static str>,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<Owner>,
    storage_class: &'static str,
}

/// The element `CommonPrefixes`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CommonPrefix {
    prefix: String,
}

impl CommonPrefix {
    /// The element of one prefix.
    pub fn new(asked: &Asked<'_>, prefix: &[u8]) -> Self {
        Self { prefix: asked.key(prefix) }
    }
}

/// The elements of a page of objects.
pub(crate) fn elements(
    asked: &Asked<'_>,
    listing: Listing,
    owner: Option<&Owner>,
) -> Result<(Vec<Contents>, Vec<CommonPrefix>), S3Error> {
    let (mut contents, mut prefixes) = (Vec::new(), Vec::new());
    for entry in listing.entries {
        match entry {
            Entry::CommonPrefix { prefix, .. } => prefixes.push(CommonPrefix::new(asked, &prefix)),
            Entry::Row { key, value, .. } => {
                let row: ObjectRow =
                    table::decode(Table::Object, &value).map_err(PeerError::Store)?;
                // The store leaves tombstones out.
                let Some(meta) = row.content.meta() else { continue };
                let checksum: Option<&Checksum> = meta.checksum.as_ref();
                contents.push(Contents {
                    key: asked.key(&key),
                    last_modified: date::iso8601(row.version.stamp().wall()),
                    etag: format!("\"{}\"", meta.etag),
                    checksum_algorithm: checksum.map(|checksum| checksum.algorithm.name()),
                    checksum_type: checksum.map(|checksum| checksum.scope.name()),
                    size: meta.size,
                    owner: owner.cloned(),
                    storage_class: "STANDARD",
                });
            }
        }
    }
    Ok((contents, prefixes))
}
