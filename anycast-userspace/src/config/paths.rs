//! Paths as the file writes them.

use std::path::Path;

/// The daemon's working directory is no place that an operator could know.
pub(super) fn absolute<C>(path: &Path, _: &C) -> garde::Result {
    if path.is_absolute() {
        return Ok(());
    }
    Err(garde::Error::new(format!(
        "`{}` is not an absolute path",
        path.display()
    )))
}
