//! The `anycast` binary.
fn main() -> anyhow::Result<()> {
    Ok(())
}
