//! Listening Unix sockets: opened with the right mode from the first moment, removed with their owner.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, umask};
use tokio::net::UnixListener;

/// Why a socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// A daemon answers on it.
    #[error("{}: another anycast daemon answers on this socket", .0.display())]
    InUse(PathBuf),
    /// The path names something that is not a socket.
    #[error("{}: exists and is not a socket; choose another path", .0.display())]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("{}: cannot open the socket: {source}", path.display())]
    Io {
        /// The socket's path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A listening socket; its file is removed on drop.
#[derive(Debug)]
pub struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "the socket is already gone");
        }
    }
}

impl UnixSocket {
    /// Opens the socket with these permissions. One that a dead daemon left is replaced, one that answers
    /// is respected.
    ///
    /// # Errors
    ///
    /// See [`SocketError`].
    pub fn bind(path: &Path, mode: u32) -> Result<Self, SocketError> {
        let failed = |source| SocketError::Io {
            path: path.to_owned(),
            source,
        };
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(failed)?;
        }
        clear_stale(path)?;
        // The file must never be open to others, not even for the moment before a chmod.
        let mask = umask(Mode::from_bits_truncate(0o777 & !mode));
        let bound = UnixListener::bind(path);
        umask(mask);
        let listener = bound.map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
        })
    }

    /// Where connections are accepted.
    pub fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

fn clear_stale(path: &Path) -> Result<(), SocketError> {
    let failed = |source| SocketError::Io {
        path: path.to_owned(),
        source,
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            Err(SocketError::NotASocket(path.to_owned()))
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            Err(SocketError::InUse(path.to_owned()))
        }
        Ok(_) => fs::remove_file(path).map_err(failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_has_its_mode_and_goes_with_its_owner() {
        let directory = tempfile::tempdir().unwrap();
        for mode in [0o600, 0o666] {
            let path = directory.path().join("below/anycast.sock");
            let socket = UnixSocket::bind(&path, mode).unwrap();
            let found = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(found & 0o777, mode);
            assert!(matches!(
                UnixSocket::bind(&path, mode),
                Err(SocketError::InUse(_))
            ));
            drop(socket);
            assert!(!path.exists());
        }
    }

    #[tokio::test]
    async fn a_socket_that_a_dead_daemon_left_is_replaced_and_a_file_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("anycast.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(UnixSocket::bind(&path, 0o600).unwrap());
        fs::write(&path, "precious").unwrap();
        assert!(matches!(
            UnixSocket::bind(&path, 0o600),
            Err(SocketError::NotASocket(_))
        ));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
