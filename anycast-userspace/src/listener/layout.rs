//! Where the running kernel keeps the fields that lead from a process to its sockets: read from its BTF,
//! because they lie elsewhere in each version.

use std::fs;
use std::path::Path;

use anycast_common::listener::KernelLayout;

use super::btf::{Btf, BtfError};

const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Why the layout is not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum LayoutError {
    /// The kernel was built without `CONFIG_DEBUG_INFO_BTF`.
    #[error("{VMLINUX} cannot be read: {0}")]
    NoBtf(#[from] std::io::Error),
    /// It is no BTF that we understand.
    #[error("{VMLINUX}: {0}")]
    Malformed(#[from] BtfError),
    /// A structure or field has another name in this kernel.
    #[error("this kernel has no field {0}")]
    Missing(&'static str),
}

/// Reads it.
///
/// # Errors
/// When the kernel tells nothing, or has a field under another name.
pub(super) fn read() -> Result<KernelLayout, LayoutError> {
    of(&Btf::parse(&fs::read(Path::new(VMLINUX))?)?)
}

fn of(btf: &Btf<'_>) -> Result<KernelLayout, LayoutError> {
    let at = |structure: &str, field: &str, name: &'static str| {
        btf.offset(structure, field)
            .ok_or(LayoutError::Missing(name))
    };
    let (references, bias) = match btf.offset("file", "f_ref") {
        Some(offset) => (offset, 1),
        None => (at("file", "f_count", "file.f_count")?, 0),
    };
    Ok(KernelLayout {
        task_tgid: at("task_struct", "tgid", "task_struct.tgid")?,
        task_comm: at("task_struct", "comm", "task_struct.comm")?,
        task_signal: at("task_struct", "signal", "task_struct.signal")?,
        task_files: at("task_struct", "files", "task_struct.files")?,
        signal_live: at("signal_struct", "live", "signal_struct.live")?,
        files_count: at("files_struct", "count", "files_struct.count")?,
        files_table: at("files_struct", "fdt", "files_struct.fdt")?,
        table_size: at("fdtable", "max_fds", "fdtable.max_fds")?,
        table_files: at("fdtable", "fd", "fdtable.fd")?,
        file_inode: at("file", "f_inode", "file.f_inode")?,
        file_private: at("file", "private_data", "file.private_data")?,
        file_references: references,
        references_bias: bias,
        inode_mode: at("inode", "i_mode", "inode.i_mode")?,
        socket_sock: at("socket", "sk", "socket.sk")?,
        // `struct sock` begins with its `__sk_common`.
        sock_cookie: at("sock_common", "skc_cookie", "sock_common.skc_cookie")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_kernel_tells_where_its_fields_are() {
        if !Path::new(VMLINUX).exists() {
            eprintln!("skipped: this kernel has no {VMLINUX}");
            return;
        }
        let layout = read().expect("the layout is read");
        // The first of these structures' fields lie elsewhere, or at the very beginning.
        assert_ne!(layout.task_files, 0);
        assert_ne!(layout.task_files, layout.task_signal);
        assert_eq!(layout.inode_mode, 0);
        assert_ne!(layout.sock_cookie, 0);
    }
}
