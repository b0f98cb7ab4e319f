//! The compiled Workload API against the standard's wire tables: paths, field numbers, types.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use prost::Message as _;
use prost_types::{
    FileDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};

const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Method, request, response, whether the server streams.
const METHODS: [(&str, &str, &str, bool); 7] = [
    ("FetchX509SVID", "X509SVIDRequest", "X509SVIDResponse", true),
    ("FetchX509Bundles", "X509BundlesRequest", "X509BundlesResponse", true),
    ("FetchJWTSVID", "JWTSVIDRequest", "JWTSVIDResponse", false),
    ("FetchJWTBundles", "JWTBundlesRequest", "JWTBundlesResponse", true),
    ("ValidateJWTSVID", "ValidateJWTSVIDRequest", "ValidateJWTSVIDResponse", false),
    ("FetchWITSVID", "WITSVIDRequest", "WITSVIDResponse", true),
    ("FetchWITBundles", "WITBundlesRequest", "WITBundlesResponse", true),
];

/// Message, number, field, type. A map's type names its value.
const FIELDS: [(&str, i32, &str, &str); 28] = [
    ("X509SVIDResponse", 1, "svids", "repeated X509SVID"),
    ("X509SVIDResponse", 2, "crl", "repeated bytes"),
    ("X509SVIDResponse", 3, "federated_bundles", "map bytes"),
    ("X509SVID", 1, "spiffe_id", "string"),
    ("X509SVID", 2, "x509_svid", "bytes"),
    ("X509SVID", 3, "x509_svid_key", "bytes"),
    ("X509SVID", 4, "bundle", "bytes"),
    ("X509SVID", 5, "hint", "string"),
    ("X509BundlesResponse", 1, "crl", "repeated bytes"),
    ("X509BundlesResponse", 2, "bundles", "map bytes"),
    ("JWTSVIDRequest", 1, "audience", "repeated string"),
    ("JWTSVIDRequest", 2, "spiffe_id", "string"),
    ("JWTSVIDResponse", 1, "svids", "repeated JWTSVID"),
    ("JWTSVID", 1, "spiffe_id", "string"),
    ("JWTSVID", 2, "svid", "string"),
    ("JWTSVID", 3, "hint", "string"),
    ("JWTBundlesResponse", 1, "bundles", "map bytes"),
    ("ValidateJWTSVIDRequest", 1, "audience", "string"),
    ("ValidateJWTSVIDRequest", 2, "svid", "string"),
    ("ValidateJWTSVIDResponse", 1, "spiffe_id", "string"),
    ("ValidateJWTSVIDResponse", 2, "claims", "Struct"),
    ("WITSVIDRequest", 1, "spiffe_id", "string"),
    ("WITSVIDResponse", 1, "svids", "repeated WITSVID"),
    ("WITSVID", 1, "spiffe_id", "string"),
    ("WITSVID", 2, "wit_svid", "string"),
    ("WITSVID", 3, "wit_svid_key", "string"),
    ("WITSVID", 4, "hint", "string"),
    ("WITBundlesResponse", 1, "bundles", "map string"),
];

/// Messages without fields.
const EMPTY: [&str; 4] = ["X509SVIDRequest", "X509BundlesRequest", "JWTBundlesRequest", "WITBundlesRequest"];

fn workload() -> FileDescriptorProto {
    let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    set.file.into_iter().find(|file| file.name() == "workload.proto").expect("workload.proto is compiled")
}

#[test]
fn the_service_has_the_standards_methods_and_no_package() {
    let file = workload();
    assert_eq!(file.package(), "");
    assert_eq!(file.syntax(), "proto3");
    let service = file.service.first().unwrap();
    assert_eq!((file.service.len(), service.name()), (1, "SpiffeWorkloadAPI"));
    let methods: Vec<_> = service
        .method
        .iter()
        .map(|method| {
            assert!(!method.client_streaming());
            (method.name(), tail(method.input_type()), tail(method.output_type()), method.server_streaming())
        })
        .collect();
    assert_eq!(methods, METHODS);
}

#[test]
fn every_field_has_the_standards_number_and_type() {
    let file = workload();
    let mut found = Vec::new();
    for message in &file.message_type {
        for field in &message.field {
            let nested = message.nested_type.iter().find(|nested| nested.name() == tail(field.type_name()));
            let kind = match nested {
                Some(entry) => format!("map {}", scalar(entry.field.get(1).unwrap().r#type())),
                None if field.label() == Label::Repeated => format!("repeated {}", kind(field)),
                None => kind(field),
            };
            found.push((message.name().to_owned(), field.number(), field.name().to_owned(), kind));
        }
        let is_empty = EMPTY.contains(&message.name());
        assert_eq!(message.field.is_empty(), is_empty, "{}", message.name());
    }
    let wanted: Vec<_> = FIELDS
        .iter()
        .map(|(message, number, name, kind)| ((*message).to_owned(), *number, (*name).to_owned(), (*kind).to_owned()))
        .collect();
    assert_eq!(found, wanted);
}

fn kind(field: &prost_types::FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Message => tail(field.type_name()).to_owned(),
        other => scalar(other).to_owned(),
    }
}

fn scalar(kind: Type) -> &'static str {
    match kind {
        Type::String => "string",
        Type::Bytes => "bytes",
        _ => "other",
    }
}

fn tail(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}
