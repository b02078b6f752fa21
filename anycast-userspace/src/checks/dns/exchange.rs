//! Queries and answers on the wire, over UDP and TCP.

use std::net::SocketAddr;

use domain::base::message_builder::PushError;
use domain::base::{Message, MessageBuilder};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Asked, malformed, protocol};
use crate::checks::answers::{Answers, ROOM};
use crate::checks::dial::{connect, send};
use crate::checks::probe::Failure;
use crate::config::check::DnsTransport;

/// Length of a message without any section (RFC 1035 §4.1.1).
const HEADER_LENGTH: usize = 12;

/// The query, with EDNS; `nsid` asks for the server's identifier (RFC 5001). Every run gives it an id of its own.
pub(super) fn query(
    question: &Asked,
    recursion: bool,
    nsid: bool,
) -> Result<Message<Vec<u8>>, PushError> {
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_rd(recursion);
    let mut builder = builder.question();
    builder.push(question)?;
    let mut builder = builder.additional();
    builder.opt(|opt| {
        // RFC 6891 §6.2.5.
        opt.set_udp_payload_size(ROOM);
        if nsid { opt.client_nsid() } else { Ok(()) }
    })?;
    Ok(builder.into_message())
}

/// Asks, and asks again over TCP where the answer over UDP is truncated.
pub(super) async fn ask(
    target: SocketAddr,
    query: &Message<Vec<u8>>,
    transport: DnsTransport,
) -> Result<Message<Vec<u8>>, Failure> {
    match transport {
        DnsTransport::Tcp => Box::pin(over_tcp(target, query)).await,
        DnsTransport::Udp => {
            let answer = over_udp(target, query).await?;
            if answer.header().tc() {
                Box::pin(over_tcp(target, query)).await
            } else {
                Ok(answer)
            }
        }
    }
}

/// Asks over UDP from a port of its own. A datagram with another id may be a late answer to someone
/// else's question: it is passed over, and only the timeout ends the wait.
async fn over_udp(
    target: SocketAddr,
    query: &Message<Vec<u8>>,
) -> Result<Message<Vec<u8>>, Failure> {
    let mut answers = Answers::to(send(target, query.as_slice())?);
    loop {
        let datagram = answers.next().await?;
        let length = datagram.len();
        if length < HEADER_LENGTH {
            return Err(protocol(format!(
                "a datagram of {length} bytes is no DNS message"
            )));
        }
        let answer = Message::from_octets(datagram).map_err(malformed)?;
        if answer.header().id() == query.header().id() {
            return Ok(answer);
        }
    }
}

/// Asks over a TCP connection of its own (RFC 7766).
async fn over_tcp(
    target: SocketAddr,
    query: &Message<Vec<u8>>,
) -> Result<Message<Vec<u8>>, Failure> {
    let length = u16::try_from(query.as_slice().len()).map_err(malformed)?;
    let mut stream = connect(target).await?;
    let framed = [&length.to_be_bytes()[..], query.as_slice()].concat();
    stream.write_all(&framed).await?;
    let length = stream.read_u16().await?;
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await?;
    let answer = Message::from_octets(buffer).map_err(malformed)?;
    let (want, got) = (query.header().id(), answer.header().id());
    if want != got {
        return Err(protocol(format!(
            "the answer's id is {got}, the query's is {want}"
        )));
    }
    Ok(answer)
}
