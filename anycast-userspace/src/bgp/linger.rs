//! Closing a connection so that the last message arrives: a close with unread octets would make the
//! kernel send RST, and the peer may then never read our NOTIFICATION.

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long the peer has to take what is left to send.
const SEND: Duration = Duration::from_secs(1);
/// How long the peer has to close its side.
const DRAIN: Duration = Duration::from_millis(500);

/// Sends the rest, ends our direction, and reads until the peer ends its own, each within its bound.
pub(super) fn close(mut stream: TcpStream, rest: BytesMut) -> JoinHandle<()> {
    tokio::spawn(async move {
        let sent = timeout(SEND, async {
            stream.write_all(&rest).await?;
            stream.shutdown().await
        });
        if !matches!(sent.await, Ok(Ok(()))) {
            return;
        }
        let mut scrap = [0; 4096];
        // Either the peer closes, or the time is up: there is nothing more to do in both cases.
        let _ = timeout(DRAIN, async {
            while matches!(stream.read(&mut scrap).await, Ok(1..)) {}
        })
        .await;
    })
}
