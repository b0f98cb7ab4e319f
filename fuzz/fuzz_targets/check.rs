//! Requests as Envoy tells them, whose headers, host and path are its clients'.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = dayfly::fuzzing::check(bytes);
});
