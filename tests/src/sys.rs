//! The system calls that have no safe wrapper: what a child does before exec, leases, and `bpf(2)`.
#![expect(
    unsafe_code,
    reason = "pre_exec, leases and bpf(2) have no safe form; they are kept in this module alone"
)]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{getpid, getppid};

/// Lets `command` run in the network namespace `netns` (or in the present one), with no signal blocked,
/// and die with the thread that starts it. Doing it twice does no harm.
pub(crate) fn confine(command: &mut Command, netns: Option<File>) {
    let parent = getpid();
    let before_exec = move || {
        if let Some(netns) = &netns {
            setns(netns, CloneFlags::CLONE_NEWNET)?;
        }
        SigSet::empty().thread_set_mask()?;
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
        if getppid() != parent {
            // It died before it could be heard of.
            return Err(Errno::ESRCH.into());
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes system calls only and allocates nothing.
    unsafe { command.pre_exec(before_exec) };
}

/// The libc crate has it for other systems alone.
const F_SETSIG: libc::c_int = 10;

/// With F_WRLCK, others' open(2) and execve(2) of the file block until F_UNLCK. Their asking is told by SIGURG, which
/// is ignored where nobody handles it.
pub(crate) fn set_lease(file: &File, lease: libc::c_int) -> io::Result<()> {
    for (command, argument) in [(F_SETSIG, libc::SIGURG), (libc::F_SETLEASE, lease)] {
        // SAFETY: both commands take an integer.
        if unsafe { libc::fcntl(file.as_raw_fd(), command, argument) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// `r0 = XDP_PASS; exit`, encoded as in the kernel's `struct bpf_insn`.
const PASS: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 2, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];

/// The head of `union bpf_attr` for BPF_PROG_LOAD, up to `expected_attach_type`.
#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// The head of `union bpf_attr` for BPF_LINK_CREATE, up to `flags`.
#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

const _: () = assert!(size_of::<ProgLoad>() == 72);
const _: () = assert!(size_of::<LinkCreate>() == 16);

/// Attaches an XDP program that passes everything to the interface `ifindex` of the calling thread's
/// network namespace, in native mode. Closing the returned link detaches it.
///
/// # Errors
/// What bpf(2) says, with the step that failed.
pub(crate) fn attach_xdp_pass(ifindex: u32) -> io::Result<OwnedFd> {
    let mut prog_name = [0; 16];
    prog_name[..8].copy_from_slice(b"lab_pass");
    let load = ProgLoad {
        prog_type: BPF_PROG_TYPE_XDP,
        insn_cnt: 2,
        insns: PASS.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        prog_name,
        expected_attach_type: BPF_XDP,
        ..ProgLoad::default()
    };
    // SAFETY: the attributes match the command, and the pointers in them outlive the call.
    let program = unsafe { bpf(BPF_PROG_LOAD, &load) }?;
    let link = LinkCreate {
        prog_fd: program.as_raw_fd().cast_unsigned(),
        target_ifindex: ifindex,
        attach_type: BPF_XDP,
        flags: XDP_FLAGS_DRV_MODE,
    };
    // SAFETY: the attributes match the command and hold no pointer.
    unsafe { bpf(BPF_LINK_CREATE, &link) }
}

/// Has the verifier walk through a program, which is loaded and dropped at once; returns what it logs at
/// `level`. Map descriptors in the instructions must be open.
///
/// # Errors
/// What bpf(2) says, and what the verifier has written until then.
pub(crate) fn verifier_log(
    prog_type: u32,
    expected_attach_type: u32,
    prog_flags: u32,
    instructions: &[u8],
    level: u32,
) -> Result<String, (io::Error, String)> {
    let mut log = vec![0_u8; 1 << 20];
    let length = |bytes: usize| u32::try_from(bytes).expect("less than 4 GiB");
    let load = ProgLoad {
        prog_type,
        insn_cnt: length(instructions.len() / 8),
        insns: instructions.as_ptr() as u64,
        license: c"Dual MIT/GPL".as_ptr() as u64,
        log_level: level,
        log_size: length(log.len()),
        log_buf: log.as_mut_ptr() as u64,
        prog_flags,
        expected_attach_type,
        ..ProgLoad::default()
    };
    // SAFETY: the attributes match the command, and the pointers in them outlive the call.
    let loaded = unsafe { bpf(BPF_PROG_LOAD, &load) };
    let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
    let text = String::from_utf8_lossy(&log[..end]).into_owned();
    match loaded {
        Ok(_program) => Ok(text),
        Err(error) => Err((error, text)),
    }
}

/// # Safety
/// `attr` must be what `command` takes, with valid pointers inside; the command must return a new file
/// descriptor.
unsafe fn bpf<T>(command: libc::c_long, attr: &T) -> io::Result<OwnedFd> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of `attr`; the caller vouches for the rest.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attr),
            size_of::<T>(),
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: bpf(2) has just returned this descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
