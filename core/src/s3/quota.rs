//! How much a bucket may hold.
//!
//! A request that makes an object is held against the quotas before its body is taken in, and one with a long body again before the
//! object becomes visible. What others write at the same moment is not counted, so a bucket can end up with more than it may hold:
//! by as much as was under way at once.

use super::{
    call::{Call, Target},
    error::{Code, S3Error},
    object::row,
};
use crate::{
    quorum::{self, Usage},
    table::access::Quotas,
    task::Cx,
};

/// Refuses to make an object of `size` bytes, or of more, if the request's bucket may not hold that beside what it holds. What the
/// object replaces is not counted.
pub(crate) async fn check(cx: Cx, call: &Call, target: &Target, size: u64) -> Result<(), S3Error> {
    let bucket = call.bucket();
    let quotas = bucket.row.quotas.value;
    if quotas == Quotas::default() {
        return Ok(());
    }
    Box::pin(async {
        let usage = quorum::usage_near(cx, &call.view, bucket.id, bucket.row.shards).await?;
        let replaced = row::read(cx, &call.view, target, false).await?;
        let replaced = replaced.and_then(|stored| stored.row.content.meta().map(|meta| meta.size));
        match exceeded(quotas, usage, replaced, size) {
            None => Ok(()),
            Some(why) => Err(S3Error::new(
                Code::QuotaExceeded,
                format!("The quota of this bucket does not allow this: {why}. Delete objects, or ask the operator for more."),
            )
            .detail("BucketName", bucket.name.clone())),
        }
    })
    .await
}

/// Why there is no room for an object of `size` bytes in place of one of `replaced` bytes.
fn exceeded(quotas: Quotas, usage: Usage, replaced: Option<u64>, size: u64) -> Option<String> {
    let Usage { objects, bytes, .. } = usage;
    if let Some(max) = quotas.max_objects
        && replaced.is_none()
        && objects >= max
    {
        return Some(format!("it holds {objects} objects and may hold {max}"));
    }
    let replaced = replaced.unwrap_or_default();
    let after = bytes.saturating_sub(replaced).saturating_add(size);
    match quotas.max_size {
        // Whatever makes no object longer is no reason to complain, even if the bucket is too full already.
        Some(max) if after > max && size > replaced => {
            Some(format!("it holds {bytes} bytes, would hold {after}, and may hold {max}"))
        }
        Some(_) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(
        max: (Option<u64>, Option<u64>),
        holds: (u64, u64),
        new: (Option<u64>, u64),
    ) -> bool {
        let quotas = Quotas { max_objects: max.0, max_size: max.1 };
        let usage = Usage { objects: holds.0, bytes: holds.1, uploads: 0 };
        exceeded(quotas, usage, new.0, new.1).is_none()
    }

    #[test]
    fn objects_are_counted() {
        assert!(allowed((Some(3), None), (2, 900), (None, 1 << 40)));
        assert!(!allowed((Some(3), None), (3, 900), (None, 0)));
        assert!(allowed((Some(3), None), (3, 900), (Some(5), 1 << 40)), "it replaces one");
        assert!(!allowed((Some(0), None), (0, 0), (None, 0)));
    }

    #[test]
    fn bytes_are_counted() {
        assert!(allowed((None, Some(1000)), (2, 900), (None, 100)));
        assert!(!allowed((None, Some(1000)), (2, 900), (None, 101)));
        assert!(allowed((None, Some(1000)), (2, 900), (Some(50), 150)), "it replaces some");
        assert!(!allowed((None, Some(1000)), (2, 900), (Some(50), 151)));
    }

    #[test]
    fn what_makes_nothing_longer_is_allowed_in_a_bucket_that_is_too_full() {
        assert!(allowed((Some(1), Some(1000)), (9, 5000), (Some(50), 50)));
        assert!(!allowed((Some(1), Some(1000)), (9, 5000), (Some(50), 51)));
        assert!(!allowed((None, Some(1000)), (9, u64::MAX), (None, u64::MAX)));
    }
}
