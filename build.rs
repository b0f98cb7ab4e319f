//! Compiles `proto/` with a protobuf compiler written in Rust, and keeps the descriptor set for
//! reflection and for the wire-table test.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const PROTOS: [&str; 8] = [
    "proto/workload.proto",
    "proto/dayfly/v1/admin.proto",
    "proto/dayfly/v1/authz.proto",
    "proto/dayfly/v1/token.proto",
    "proto/envoy/extensions/transport_sockets/tls/v3/secret.proto",
    "proto/envoy/extensions/transport_sockets/tls/v3/tls_spiffe_validator_config.proto",
    "proto/envoy/service/auth/v3/external_auth.proto",
    "proto/envoy/service/secret/v3/sds.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        .codec_path("crate::pb::SmallCodec")
        // With bytes that may be lent, and wiped.
        .extern_path(".google.protobuf.Any", "crate::pb::Any")
        .skip_debug([
            "X509SVID",
            "X509SVIDResponse",
            "JWTSVID",
            "JWTSVIDResponse",
            "WITSVID",
            "WITSVIDResponse",
            "ValidateJWTSVIDRequest",
            "IssueTokenRequest",
            "RevokeTokenRequest",
            "IssueTokenResponse",
            "ExchangeTokenRequest",
            "ExchangeTokenResponse",
            "VerifyRequest",
            ".envoy",
        ])
        .compile_fds(descriptors)?;
    Ok(())
}
