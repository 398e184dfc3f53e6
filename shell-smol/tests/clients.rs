//! Real S3 clients, each doing what people do with it.

#[test]
fn every_client_works() {
    mews_conformance::clients::run(env!("CARGO_BIN_EXE_mewsd-smol"));
}
