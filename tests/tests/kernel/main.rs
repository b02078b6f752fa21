//! What must hold on every kernel: each program loads, the data plane judges a few packets rightly, attaches
//! natively, and the `listener` programs see a socket closed. Needs root.
//!
//! It has no harness, so that it is one plain program that also runs where there is nothing else: in a virtual
//! machine with another kernel. It ends with an error at the first thing that does not hold. With `--statistics`
//! it prints a line of JSON for each program and set of features: what the verifier says.

mod features;
mod packets;
mod sockets;
mod statistics;

/// Its name to the filter of `cargo test`.
const NAME: &str = "every_program_loads_and_works_on_this_kernel";
/// Asks for the statistics.
const STATISTICS: &str = "--statistics";

fn main() -> anyhow::Result<()> {
    let (flags, filters): (Vec<String>, Vec<String>) = std::env::args()
        .skip(1)
        .partition(|argument| argument.starts_with('-'));
    if !filters.is_empty() && !filters.iter().any(|filter| NAME.contains(filter)) {
        return Ok(());
    }
    let statistics = flags.iter().any(|flag| flag == STATISTICS);
    packets::judge()?;
    sockets::close_one(statistics)?;
    if statistics {
        features::load_all()?;
    }
    Ok(())
}
