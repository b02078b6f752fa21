//! The client's end of the control socket. Blocking: a command line has nothing else to do.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::protocol::{Request, Response};

/// Why the daemon could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("{}: no anycast daemon answers on this control socket ({source}); is `anycast run` running, and are you root?", path.display())]
    Connect {
        /// The socket's path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The conversation broke off.
    #[error("the daemon broke off: {0}")]
    Io(#[from] io::Error),
    /// The daemon's line is none of ours.
    #[error(
        "the daemon's answer is not understood ({0}): do client and daemon have the same version?"
    )]
    Answer(#[from] serde_json::Error),
}

/// The answers to one request.
pub struct Answers(io::Lines<BufReader<UnixStream>>);

impl Iterator for Answers {
    type Item = Result<Response, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.0.next()?;
        Some(
            line.map_err(ClientError::from)
                .and_then(|line| Ok(serde_json::from_str(&line)?)),
        )
    }
}

/// Sends one request.
pub fn ask(path: &Path, request: &Request) -> Result<Answers, ClientError> {
    let mut stream = UnixStream::connect(path).map_err(|source| ClientError::Connect {
        path: path.to_owned(),
        source,
    })?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    Ok(Answers(BufReader::new(stream).lines()))
}
