//! How row keys are made. Every sharded row begins with its ring position, so that a partition is a range; what changes
//! together is adjacent.

use crate::id::{BucketId, Hash, Position, VersionId};

/// The index shard of `key` in a bucket of `shards` shards.
pub fn shard_of(key: &[u8], shards: u16) -> u16 {
    let hash = blake3::hash(key);
    u16::from_be_bytes([hash.as_bytes()[0], hash.as_bytes()[1]]) % shards.max(1)
}

fn concat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// Everything of one index shard of a bucket in [`Table::Object`](crate::store::Table::Object) or `Upload`: the prefix of its keys.
pub fn shard_prefix(bucket: BucketId, shard: u16) -> Vec<u8> {
    let position = Position::of_shard(bucket, shard);
    concat(&[&position.0.to_be_bytes(), &bucket.0, &shard.to_be_bytes()])
}

/// Length of what [`shard_prefix`] gives.
pub const SHARD_PREFIX_LEN: usize = 2 + 16 + 2;

/// `Object`: the shard's prefix, then the S3 key as it is.
pub fn object(bucket: BucketId, shard: u16, key: &[u8]) -> Vec<u8> {
    concat(&[&shard_prefix(bucket, shard), key])
}

/// The S3 key in an `Object` row's key.
pub fn object_key(row_key: &[u8]) -> &[u8] {
    &row_key[SHARD_PREFIX_LEN..]
}

/// `Inline`: position and version.
pub fn inline(position: Position, version: VersionId) -> Vec<u8> {
    concat(&[&position.0.to_be_bytes(), &version.0])
}

/// `Upload`: the shard's prefix, the S3 key with its end marked, then the upload id; sorts by (key, id).
pub fn upload(bucket: BucketId, shard: u16, key: &[u8], upload: VersionId) -> Vec<u8> {
    concat(&[&shard_prefix(bucket, shard), &escape(key), &upload.0])
}

/// The S3 key and the upload id in an `Upload` row's key.
pub fn upload_parts(row_key: &[u8]) -> Option<(Vec<u8>, VersionId)> {
    let rest = row_key.get(SHARD_PREFIX_LEN..)?;
    let (escaped, id) = rest.split_at_checked(rest.len().checked_sub(16)?)?;
    Some((unescape(escaped)?, VersionId::from_slice(id)?))
}

/// The `Upload` key of an upload of the object with this `Object` key.
pub fn upload_beside(row_key: &[u8], upload: VersionId) -> Vec<u8> {
    let (shard, key) = row_key.split_at(SHARD_PREFIX_LEN);
    concat(&[shard, &escape(key), &upload.0])
}

/// The `Object` key of what an upload with this `Upload` key makes, and the upload id.
pub fn object_beside(row_key: &[u8]) -> Option<(Vec<u8>, VersionId)> {
    let (key, upload) = upload_parts(row_key)?;
    Some((concat(&[row_key.get(..SHARD_PREFIX_LEN)?, &key]), upload))
}

/// `Part`: position, upload, part number.
pub fn part(position: Position, upload: VersionId, number: u16) -> Vec<u8> {
    concat(&[&position.0.to_be_bytes(), &upload.0, &number.to_be_bytes()])
}

/// The part number in a `Part` row's key.
pub fn part_number(row_key: &[u8]) -> Option<u16> {
    row_key.get(18..20)?.try_into().ok().map(u16::from_be_bytes)
}

/// `Manifest`: position, upload, page.
pub fn manifest(position: Position, upload: VersionId, page: u16) -> Vec<u8> {
    concat(&[&position.0.to_be_bytes(), &upload.0, &page.to_be_bytes()])
}

/// `Intent`: position and the id of the data being written.
pub fn intent(position: Position, data: VersionId) -> Vec<u8> {
    concat(&[&position.0.to_be_bytes(), &data.0])
}

/// `BlockList`: position and id of the data, then the block's offset in it.
pub fn block_list(position: Position, data: VersionId, offset: u64) -> Vec<u8> {
    concat(&[&position.0.to_be_bytes(), &data.0, &offset.to_be_bytes()])
}

/// The offset in a `BlockList` row's key.
pub fn block_list_offset(row_key: &[u8]) -> Option<u64> {
    row_key.get(18..26)?.try_into().ok().map(u64::from_be_bytes)
}

/// `BlockRef`: the block, then who refers to it. A block's hash begins with its position.
pub fn block_ref(block: Hash, data: VersionId) -> Vec<u8> {
    concat(&[&block.0, &data.0])
}

/// `BlockCount`: the block.
pub fn block_count(block: Hash) -> Vec<u8> {
    block.0.to_vec()
}

/// The first key after all those that begin with `prefix`; `None` if there is none.
pub fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// Order-preserving and prefix-free: 0x00 becomes 0x00 0xff, and 0x00 0x00 ends the key.
pub fn escape(key: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(key.len() + 2);
    for byte in key {
        escaped.push(*byte);
        if *byte == 0 {
            escaped.push(0xff);
        }
    }
    escaped.extend_from_slice(&[0, 0]);
    escaped
}

fn unescape(escaped: &[u8]) -> Option<Vec<u8>> {
    let escaped = escaped.strip_suffix(&[0, 0])?;
    let mut key = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.iter();
    while let Some(byte) = bytes.next() {
        key.push(*byte);
        if *byte == 0 && bytes.next() != Some(&0xff) {
            return None;
        }
    }
    Some(key)
}
