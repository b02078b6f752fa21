//! The memory of a map that the kernel shares with this process (`BPF_F_MMAPABLE`, Linux 5.5), as words that are read
//! and written whole: a write by system call copies bytes, in no promised order. Only this module maps memory.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use aya::maps::{Map, MapData};

use crate::dataplane::error::DataPlaneError;

/// A shared map's values. The map outlives the program that it was made for as long as this is there.
#[derive(Debug)]
pub(super) struct Memory {
    start: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: the memory belongs to no thread, and all access to it is atomic.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// The memory of an array with `words` words of values.
    ///
    /// # Errors
    /// [`DataPlaneError::Index`] for another kind of map, a smaller one, or the kernel's refusal.
    pub(super) fn of(map: &Map, words: usize) -> Result<Self, DataPlaneError> {
        let data = array(map)?;
        let has = words_of(data)?;
        if has < words {
            return Err(DataPlaneError::Index(io::Error::other(format!(
                "it has {has} words and not {words}"
            ))));
        }
        // SAFETY: a new mapping, at an address of the kernel's choice, touches no memory in use.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                words * size_of::<AtomicU64>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                data.fd().as_fd().as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(DataPlaneError::Index(io::Error::last_os_error()));
        }
        NonNull::new(start.cast())
            .map(|start| Self { start, words })
            .ok_or_else(|| DataPlaneError::Index(io::Error::other("mapped at address 0")))
    }

    pub(super) const fn words(&self) -> &[AtomicU64] {
        // SAFETY: so many words were mapped, at a page's start, for as long as `self` is there; others, the kernel
        // included, write to them, which atomics allow.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let length = self.words * size_of::<AtomicU64>();
        // SAFETY: mapped by `of` with this length; no reference into it outlives `self`.
        let unmapped = unsafe { libc::munmap(self.start.as_ptr().cast(), length) };
        debug_assert_eq!(unmapped, 0, "mapped by `of`");
    }
}

fn array(map: &Map) -> Result<&MapData, DataPlaneError> {
    if let Map::Array(data) = map {
        Ok(data)
    } else {
        Err(DataPlaneError::Index(io::Error::other("it is no array")))
    }
}

/// Words of all values of a map.
fn words_of(map: &MapData) -> Result<usize, DataPlaneError> {
    let info = map
        .info()
        .map_err(io::Error::other)
        .map_err(DataPlaneError::Index)?;
    Ok(info.max_entries() as usize * (info.value_size() as usize / size_of::<AtomicU64>()))
}
