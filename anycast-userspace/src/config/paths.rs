//! Paths as the file writes them.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// The longest path that a socket can be bound to: `sun_path`, without its NUL.
const LONGEST_SOCKET_PATH: usize = 107;

/// The daemon's working directory is no place that an operator could know.
pub(super) fn absolute<C>(path: &Path, _: &C) -> garde::Result {
    if path.as_os_str().as_bytes().contains(&0) {
        return Err(garde::Error::new("holds a NUL byte: no path can"));
    }
    if path.is_absolute() {
        return Ok(());
    }
    Err(garde::Error::new(format!(
        "`{}` is not an absolute path",
        path.display()
    )))
}

/// Where a Unix socket can be.
pub(super) fn socket<C>(path: &Path, context: &C) -> garde::Result {
    absolute(path, context)?;
    let bytes = path.as_os_str().as_bytes();
    if path.file_name().is_none() || bytes.ends_with(b"/") {
        return Err(garde::Error::new(format!(
            "`{}` is a directory: write the socket's name too",
            path.display()
        )));
    }
    if bytes.len() > LONGEST_SOCKET_PATH {
        return Err(garde::Error::new(format!(
            "a path of {} bytes is too long for a socket: the most is {LONGEST_SOCKET_PATH}",
            bytes.len()
        )));
    }
    Ok(())
}
