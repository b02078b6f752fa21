//! Rebuilds the program when the linker changes, which a cargo fingerprint does not see, and sets
//! the linker's code generation.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if let Ok(linker) = which::which("bpf-linker") {
        println!("cargo:rerun-if-changed={}", linker.display());
    }
    if env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "bpf") {
        // Headers lie at odd offsets: without this every field is loaded byte by byte. LLVM
        // before 22 does not know it and ignores it.
        println!("cargo:rustc-link-arg-bins=--cpu-features=+allows-misaligned-mem-access");
    }
}
