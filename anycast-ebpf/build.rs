//! Rebuilds the program when the linker changes, which a cargo fingerprint does not see, and sets
//! the linker's code generation.

use std::env;

/// Where cargo is told of the linker, by the build script of anycast-userspace.
const LINKER: &str = "CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={LINKER}");
    if let Ok(linker) = env::var(LINKER) {
        println!("cargo:rerun-if-changed={linker}");
    }
    if env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "bpf") {
        // Headers lie at odd offsets: without this every field is loaded byte by byte. LLVM
        // before 22 does not know it and ignores it.
        println!("cargo:rustc-link-arg-bins=--cpu-features=+allows-misaligned-mem-access");
    }
}
