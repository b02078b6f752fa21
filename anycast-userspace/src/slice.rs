//! How soon the kernel lets a thread of ours run that has just been woken. It sets nothing else.

use std::io;

/// What a thread may take at a time. A process that dies keeps its processor for the rest of its own slice, some
/// milliseconds, unless one with a shorter slice wakes up.
const SLICE_NS: u64 = 500_000;

/// Children are given back the kernel's own slice (`SCHED_FLAG_RESET_ON_FORK`).
const RESET_ON_FORK: u64 = 1;

/// `struct sched_attr` of linux/sched/types.h, in its first version.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

const SIZE: u32 = 48;
const _: () = assert!(size_of::<Attributes>() == SIZE as usize);

/// Gives the calling thread a short slice, so that it preempts those that have been running (Linux 6.12; before,
/// it changes nothing). A policy other than the usual one is an operator's choice and is left as it is.
///
/// # Errors
/// The kernel's: a seccomp filter may forbid it.
pub fn shorten() -> io::Result<()> {
    let mut attributes = Attributes::default();
    // SAFETY: the kernel writes at most the size that it is told, into a structure of that size; 0 is this thread.
    let got = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, SIZE, 0) };
    if got != 0 {
        return Err(io::Error::last_os_error());
    }
    if attributes.policy != libc::SCHED_OTHER.cast_unsigned() {
        return Ok(());
    }
    attributes.size = SIZE;
    attributes.flags |= RESET_ON_FORK;
    attributes.runtime = SLICE_NS;
    // SAFETY: the kernel only reads the structure, as far as its `size` says.
    let set = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if set == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// As [`shorten`], where it may fail: then it is slower, and goes on.
pub fn shorten_if_possible() {
    if let Err(error) = shorten() {
        tracing::debug!(%error, "the kernel's own time slice stays");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_takes_a_short_slice_and_keeps_the_niceness() {
        std::thread::spawn(|| {
            let mut before = Attributes::default();
            let mut after = Attributes::default();
            let read = |into: &mut Attributes| {
                // SAFETY: as in `shorten`.
                unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut *into, SIZE, 0) }
            };
            assert_eq!(read(&mut before), 0);
            shorten().unwrap();
            assert_eq!(read(&mut after), 0);
            assert_eq!((after.policy, after.nice), (before.policy, before.nice));
            assert_eq!(after.flags & RESET_ON_FORK, RESET_ON_FORK);
        })
        .join()
        .unwrap();
    }
}
