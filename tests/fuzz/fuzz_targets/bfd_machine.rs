#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // Running out of data is how a sequence ends.
    let _ = anycast_userspace::bfd::exercise::machine(data);
});
