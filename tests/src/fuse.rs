//! A file system that never answers: whoever looks for a file on it sleeps in the kernel, and not even SIGKILL ends
//! that, since the question has been read (linux/fuse.h).

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// linux/fuse.h
const FUSE_INIT: u32 = 26;
const FUSE_KERNEL_VERSION: u32 = 7;
/// The oldest with an answer to INIT of this length.
const FUSE_MINOR_VERSION: u32 = 23;
const INIT_ANSWER: usize = 64;
const REQUEST_HEADER: usize = 40;
const ANSWER_HEADER: usize = 16;
/// More than FUSE_MIN_READ_BUFFER.
const BUFFER: usize = 64 * 1024;

/// Mounted until dropped; then the kernel is told, and whoever still waits gets an error.
#[derive(Debug)]
pub struct Silence {
    directory: PathBuf,
}

impl Silence {
    /// Mounts it on a directory. Needs root.
    ///
    /// # Errors
    /// What open(2) of `/dev/fuse` and mount(2) say.
    pub fn mount(directory: &Path) -> io::Result<Self> {
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/fuse")?;
        let options = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0",
            device.as_raw_fd()
        );
        mount(
            Some("silence"),
            directory,
            Some("fuse"),
            MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
            Some(options.as_str()),
        )?;
        thread::spawn(move || read_all(device));
        Ok(Self {
            directory: directory.to_owned(),
        })
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // Forced, it ends the connection: all that wait are told, and the reader as well. Who waited keeps it busy.
        let _ = umount2(&self.directory, MntFlags::MNT_FORCE);
        let _ = umount2(&self.directory, MntFlags::MNT_DETACH);
    }
}

/// Answers INIT, and reads everything else.
fn read_all(mut device: File) {
    let mut request = vec![0; BUFFER];
    while let Ok(length) = device.read(&mut request) {
        if length < REQUEST_HEADER {
            continue;
        }
        let operation = u32::from_ne_bytes([request[4], request[5], request[6], request[7]]);
        if operation == FUSE_INIT {
            let _ = device.write_all(&init_answer(&request[8..16]));
        }
    }
}

/// `struct fuse_out_header`, then `struct fuse_init_out` that asks for nothing.
fn init_answer(unique: &[u8]) -> Vec<u8> {
    let length = u32::try_from(ANSWER_HEADER + INIT_ANSWER).expect("it is short");
    let mut answer = Vec::with_capacity(ANSWER_HEADER + INIT_ANSWER);
    answer.extend(length.to_ne_bytes());
    answer.extend(0_i32.to_ne_bytes());
    answer.extend(unique);
    answer.extend(FUSE_KERNEL_VERSION.to_ne_bytes());
    answer.extend(FUSE_MINOR_VERSION.to_ne_bytes());
    answer.resize(ANSWER_HEADER + INIT_ANSWER, 0);
    answer
}
