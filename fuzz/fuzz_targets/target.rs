//! URLs and routes, as clients, proxies and admins write them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = dayfly::fuzzing::target(bytes);
});
