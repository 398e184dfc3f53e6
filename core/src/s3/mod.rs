//! The S3 API: protocol and handlers, one operation a file.

pub mod checksum;
pub mod date;
pub mod digest;
pub mod error;
pub mod intake;
pub mod request;
pub mod xml;
