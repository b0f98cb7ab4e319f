//! Certificates of clients as proxies say them, some of which is the client's.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = dayfly::fuzzing::certificate(bytes);
});
