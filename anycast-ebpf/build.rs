//! Rebuilds the program when the linker changes: a cargo fingerprint does not see it.

fn main() {
    if let Ok(linker) = which::which("bpf-linker") {
        println!("cargo:rerun-if-changed={}", linker.display());
    }
}
