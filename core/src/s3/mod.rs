//! The S3 API: protocol and handlers, one operation a file.

pub mod access;
pub mod auth;
pub mod bucket;
pub mod call;
pub mod copy;
pub mod cors;
pub mod date;
pub mod digest;
pub mod egress;
pub mod error;
pub mod ingest;
pub mod intake;
pub mod list;
pub mod multipart;
pub mod object;
mod quota;
pub mod request;
pub mod serve;
pub mod sign;
#[cfg(test)]
mod tests;
pub mod xml;
