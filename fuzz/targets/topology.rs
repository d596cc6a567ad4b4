#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| multimesh_fuzz::topology::check(data));
