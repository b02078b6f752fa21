#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // Running out of data is how a sequence ends.
    let _ = anycast_userspace::rib::exercise::adj_rib_out(data);
});
