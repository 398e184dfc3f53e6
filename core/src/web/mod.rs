//! Buckets as websites: GET and HEAD for browsers, who sign nothing and speak no S3.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/WebsiteHosting.html>

pub mod config;
pub mod page;
pub mod rule;
pub mod serve;
pub mod site;
#[cfg(test)]
mod tests;
pub mod visitor;
