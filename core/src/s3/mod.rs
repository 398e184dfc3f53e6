//! The S3 API: protocol and handlers, one operation a file.

pub mod auth;
pub mod call;
pub mod checksum;
pub mod date;
pub mod digest;
pub mod egress;
pub mod error;
pub mod ingest;
pub mod intake;
pub mod object;
pub mod request;
pub mod sign;
pub mod xml;
