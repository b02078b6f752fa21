//! The end of a command's output.

use std::collections::VecDeque;

use tokio::net::unix::pipe;

/// How much of the output is kept: its last bytes.
pub const OUTPUT_LIMIT: usize = 4096;

/// The last bytes of an output of any length.
#[derive(Default)]
pub(super) struct Tail {
    bytes: VecDeque<u8>,
}

impl Tail {
    pub(super) fn push(&mut self, read: &[u8]) {
        let read = &read[read.len().saturating_sub(OUTPUT_LIMIT)..];
        let excess = (self.bytes.len() + read.len()).saturating_sub(OUTPUT_LIMIT);
        self.bytes.drain(..excess);
        self.bytes.extend(read);
    }

    /// What an ended command left in the pipe: at most what a pipe holds, however fast a process that
    /// escaped the group may still write.
    pub(super) fn take_what_is_there(&mut self, output: &pipe::Receiver) {
        let mut buffer = vec![0; 64 * 1024];
        if let Ok(count) = output.try_read(&mut buffer) {
            self.push(&buffer[..count]);
        }
    }

    pub(super) fn into_text(self) -> Option<Box<str>> {
        let bytes = Vec::from(self.bytes);
        (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into())
    }
}

#[cfg(test)]
mod tests {
    use super::{OUTPUT_LIMIT, Tail};

    #[test]
    fn the_tail_is_the_last_bytes_of_whatever_was_pushed() {
        let alphabet = (b'a'..=b'z').cycle();
        let all: Vec<u8> = alphabet.take(20_000).collect();
        let want = String::from_utf8_lossy(&all[all.len() - OUTPUT_LIMIT..]);
        for size in [1, 7, 4095, 4096, 4097, 20_000] {
            let mut tail = Tail::default();
            for chunk in all.chunks(size) {
                tail.push(chunk);
            }
            assert_eq!(
                tail.into_text().as_deref(),
                Some(want.as_ref()),
                "pushed {size} bytes at a time"
            );
        }
    }
}
