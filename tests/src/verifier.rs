//! What the kernel's verifier says of a program that it has accepted.
//!
//! A loader shows the verifier's log when a program is refused. Its statistics are in the log of an accepted
//! one, so the program is loaded once more here, to be dropped at once.

use anyhow::{Context as _, anyhow};
use serde::{Deserialize, Serialize};

use crate::sys;

/// BPF_LOG_STATS of the kernel's bpf_verifier.h: the statistics alone.
const STATISTICS: u32 = 4;

/// A program as bpf(2) takes it.
#[derive(Clone, Copy, Debug)]
pub struct Load<'a> {
    /// `enum bpf_prog_type`.
    pub kind: u32,
    /// `enum bpf_attach_type`.
    pub attach: u32,
    /// `BPF_F_…`.
    pub flags: u32,
    /// `struct bpf_insn`, eight bytes each, with descriptors of the maps.
    pub instructions: &'a [u8],
}

/// How the verifier came through a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walk {
    /// Instructions that it processed, over all paths; the kernel's limit is 1,000,000.
    pub processed: u32,
    /// States that it kept in all.
    pub states: u32,
    /// States that it kept at once.
    pub peak_states: u32,
    /// Bytes of stack, over the deepest chain of calls; the kernel's limit is 512.
    pub stack: u32,
}

impl Load<'_> {
    /// Loads the program once more and reads the statistics.
    ///
    /// # Errors
    /// When the verifier refuses it, with what it says; when its log has another form.
    pub fn walk(&self) -> anyhow::Result<Walk> {
        let log = sys::verifier_log(
            self.kind,
            self.attach,
            self.flags,
            self.instructions,
            STATISTICS,
        )
        .map_err(|(error, log)| anyhow!("the verifier refuses it: {error}\n{log}"))?;
        Walk::read(&log).with_context(|| format!("the verifier's statistics read\n{log}"))
    }
}

impl Walk {
    /// Reads lines such as `stack depth 96+0` and `processed 2810 insns (limit 1000000)
    /// max_states_per_insn 4 total_states 230 peak_states 230 mark_read 17`.
    fn read(log: &str) -> Option<Self> {
        let number_behind = |word: &str| {
            let mut words = log.split_whitespace().skip_while(|found| *found != word);
            words.nth(1)?.parse().ok()
        };
        let depths = log
            .lines()
            .find_map(|line| line.trim().strip_prefix("stack depth "))?;
        Some(Self {
            processed: number_behind("processed")?,
            states: number_behind("total_states")?,
            peak_states: number_behind("peak_states")?,
            stack: depths
                .split('+')
                .map(|depth| depth.trim().parse::<u32>().ok())
                .sum::<Option<u32>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statistics_are_read_as_the_kernel_prints_them() {
        let log = "verification time 2741 usec\nstack depth 96+16\nprocessed 2810 insns (limit 1000000) \
                   max_states_per_insn 4 total_states 230 peak_states 229 mark_read 17\n";
        let want = Walk {
            processed: 2810,
            states: 230,
            peak_states: 229,
            stack: 112,
        };
        assert_eq!(Walk::read(log), Some(want));
        assert_eq!(Walk::read("processed 3 insns"), None);
    }
}
