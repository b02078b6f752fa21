//! What must hold on every kernel: each program loads, the data plane judges a few packets rightly, attaches
//! natively, and the `listener` programs see a socket closed. Needs root.
//!
//! It has no harness, so that it is one plain program that also runs where there is nothing else: in a virtual
//! machine with another kernel. It ends with an error at the first thing that does not hold. With `--statistics`
//! it loads more sets of features, and prints a line of JSON for each loaded program.

mod features;
mod packets;
mod sockets;
mod statistics;

/// Its name to the filter of `cargo test`.
const NAME: &str = "every_program_loads_and_works_on_this_kernel";

fn main() -> anyhow::Result<()> {
    let filters: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    if !filters.is_empty() && !filters.iter().any(|filter| NAME.contains(filter)) {
        return Ok(());
    }
    let statistics = std::env::args().any(|argument| argument == "--statistics");
    features::load_all(statistics)?;
    packets::judge()?;
    packets::attach()?;
    sockets::close_one(statistics)
}
