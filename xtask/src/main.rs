//! Development commands.
fn main() -> anyhow::Result<()> {
    Ok(())
}
