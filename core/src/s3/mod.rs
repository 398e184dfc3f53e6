//! The S3 API: protocol and handlers, one operation a file.

pub mod checksum;
pub mod intake;
