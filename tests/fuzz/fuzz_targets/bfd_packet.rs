#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    anycast_userspace::bfd::exercise::packet(data);
});
