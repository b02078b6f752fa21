//! The sockets outside of the programs' cgroup, so that a person is told of each once. Pure.

use std::collections::{HashMap, HashSet};

use super::super::plan::Port;

/// Those that were there at the last reading: one that is gone is forgotten.
#[derive(Debug, Default)]
pub(super) struct Uncovered {
    by_port: HashMap<Port, HashSet<u64>>,
}

impl Uncovered {
    /// Takes what a reading of a port shows; true if any is new.
    pub(super) fn see(&mut self, port: Port, cookies: impl Iterator<Item = u64>) -> bool {
        let now: HashSet<u64> = cookies.collect();
        if now.is_empty() {
            self.by_port.remove(&port);
            return false;
        }
        let before = self.by_port.get(&port);
        let new = before.is_none_or(|before| !now.is_subset(before));
        self.by_port.insert(port, now);
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_socket_is_told_of_once_and_forgotten_when_it_is_gone() {
        let (one, other) = (Port::udp(53), Port::tcp(53));
        let mut uncovered = Uncovered::default();
        // port, what is there, whether that is told
        let readings: [(Port, &[u64], bool); 7] = [
            (one, &[1], true),
            (one, &[1], false),
            (other, &[1], true),
            (one, &[1, 2], true),
            (one, &[2], false),
            (one, &[], false),
            (one, &[2], true),
        ];
        for (step, (port, cookies, told)) in readings.into_iter().enumerate() {
            let got = uncovered.see(port, cookies.iter().copied());
            assert_eq!(got, told, "step {step}");
        }
        for cookie in 0..10_000 {
            uncovered.see(one, [cookie].into_iter());
        }
        uncovered.see(other, [].into_iter());
        let kept: usize = uncovered.by_port.values().map(HashSet::len).sum();
        assert_eq!(kept, 1, "no more than there are");
    }
}
