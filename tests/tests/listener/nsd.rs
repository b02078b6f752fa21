//! A real name server.

use std::io::{PipeReader, Read as _};
use std::os::unix::process::CommandExt as _;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::*;

/// NSD with an empty zone list, in a process group of its own; killed when dropped.
pub(super) struct Nsd {
    child: Child,
    /// Ends when the last of its processes is gone: each holds the other end.
    lives: PipeReader,
    _directory: tempfile::TempDir,
}

impl Nsd {
    pub(super) fn start(address: IpAddr, port: u16) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().display();
        let config = directory.path().join("nsd.conf");
        std::fs::write(
            &config,
            format!(
                "server:\n  ip-address: {address}@{port}\n  username: \"\"\n  chroot: \"\"\n  \
                 zonesdir: \"{at}\"\n  database: \"\"\n  pidfile: \"\"\n  \
                 xfrdfile: \"{at}/xfrd\"\n  zonelistfile: \"{at}/zones\"\n  xfrdir: \"{at}\"\n\
                 remote-control:\n  control-enable: no\n"
            ),
        )
        .unwrap();
        let (lives, held) = std::io::pipe().unwrap();
        let child = Command::new("nsd")
            .args(["-d", "-c"])
            .arg(&config)
            .stdin(held)
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("nsd is installed");
        Self {
            child,
            lives,
            _directory: directory,
        }
    }

    pub(super) fn kill(&mut self) {
        let group = Pid::from_raw(self.child.id().cast_signed());
        killpg(group, Signal::SIGKILL).unwrap();
    }
}

impl Drop for Nsd {
    fn drop(&mut self) {
        let group = Pid::from_raw(self.child.id().cast_signed());
        let _gone = killpg(group, Signal::SIGKILL);
        let _reaped = self.child.wait();
        // The next one could not bind the port before.
        let _ended = self.lives.read_to_end(&mut Vec::new());
    }
}
