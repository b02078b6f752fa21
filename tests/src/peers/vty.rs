//! FRR's daemons asked as vtysh does, without the tenths of a second that vtysh takes to start.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

/// What a daemon answers to a command of the enabled mode on its socket.
///
/// # Errors
/// It does not listen, does not answer, or refuses the command.
pub(super) fn ask(socket: &Path, command: &str) -> Result<String> {
    let mut vty = UnixStream::connect(socket)
        .with_context(|| format!("cannot connect to {}", socket.display()))?;
    vty.set_read_timeout(Some(Duration::from_secs(5)))?;
    exchange(&mut vty, "enable")?;
    exchange(&mut vty, command)
}

/// A command ends with a zero octet, its answer with three and a status.
fn exchange(vty: &mut UnixStream, command: &str) -> Result<String> {
    vty.write_all(format!("{command}\0").as_bytes())?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = vty.read(&mut buffer)?;
        answer.extend(&buffer[..count]);
        if let [text @ .., 0, 0, 0, status] = &answer[..] {
            ensure!(*status == 0, "`{command}` is answered with status {status}");
            return Ok(String::from_utf8_lossy(text).into_owned());
        }
        ensure!(count > 0, "the daemon closed the connection");
    }
}
