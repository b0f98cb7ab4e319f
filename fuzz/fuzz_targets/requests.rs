//! Requests of workloads and admins: a letter that says which, then the message.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = dayfly::fuzzing::requests(bytes);
});
