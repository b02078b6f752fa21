//! Many changes of addresses in one `send()`: the kernel works through them within the call, and answers
//! once for all that went well. A socket of its own, because each answer belongs to the last batch.

use std::io;

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket as _, AsyncSocketExt as _, SocketAddr, TokioSocket};
use rtnetlink::packet_route::RouteNetlinkMessage;

/// Changes in one batch. Were all refused, the answers would still fit the socket's receive buffer as it
/// comes (some 256 of them); more at once is not faster.
const BATCH: usize = 128;

/// A change that the kernel refused.
#[derive(Debug)]
pub(super) struct Refusal {
    /// Which of the changes, from 0.
    pub(super) index: usize,
    /// Why.
    pub(super) error: io::Error,
}

/// A netlink socket for changes alone.
pub(super) struct BatchSocket {
    netlink: TokioSocket,
    sequence: u32,
}

impl BatchSocket {
    /// Opens it in the network namespace of this thread.
    pub(super) fn open() -> io::Result<Self> {
        let mut netlink = TokioSocket::new(NETLINK_ROUTE)?;
        netlink.socket_mut().bind_auto()?;
        netlink.socket_ref().connect(&SocketAddr::new(0, 0))?;
        Ok(Self {
            netlink,
            sequence: 0,
        })
    }

    /// Asks for `changes` with `flags`, in order, each whether or not one before was refused. Returns the
    /// refusals.
    ///
    /// # Errors
    /// The socket fails: what of the changes was made is not known.
    pub(super) async fn apply(
        &mut self,
        changes: impl IntoIterator<Item = RouteNetlinkMessage>,
        flags: u16,
    ) -> io::Result<Vec<Refusal>> {
        let mut changes = changes.into_iter().peekable();
        let mut refusals = Vec::new();
        let mut done = 0;
        while changes.peek().is_some() {
            let batch: Vec<_> = changes.by_ref().take(BATCH).collect();
            let length = batch.len();
            let first = self.sequence.wrapping_add(1);
            self.send(batch, flags).await?;
            while !self.take_answers(first, done, &mut refusals).await? {}
            done += length;
        }
        Ok(refusals)
    }

    async fn send(&mut self, batch: Vec<RouteNetlinkMessage>, flags: u16) -> io::Result<()> {
        let last = batch.len() - 1;
        let mut buffer = Vec::new();
        for (index, change) in batch.into_iter().enumerate() {
            self.sequence = self.sequence.wrapping_add(1);
            let mut message = NetlinkMessage::from(change);
            message.header.flags = NLM_F_REQUEST | flags;
            if index == last {
                message.header.flags |= NLM_F_ACK;
            }
            message.header.sequence_number = self.sequence;
            message.finalize();
            let start = buffer.len();
            buffer.resize(start + message.buffer_len().next_multiple_of(4), 0);
            message.serialize(&mut buffer[start..]);
        }
        let sent = self.netlink.send(&buffer).await?;
        if sent == buffer.len() {
            Ok(())
        } else {
            Err(io::Error::other("a batch was sent in part"))
        }
    }

    /// Takes one datagram of answers to the batch that began with the number `first`; true after the answer
    /// to its last change. `done` changes came before it.
    async fn take_answers(
        &self,
        first: u32,
        done: usize,
        refusals: &mut Vec<Refusal>,
    ) -> io::Result<bool> {
        let (datagram, _kernel) = self.netlink.recv_from_full().await?;
        let mut rest = datagram.as_slice();
        let mut complete = false;
        while !rest.is_empty() {
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            let length = usize::try_from(message.header.length).unwrap_or(usize::MAX);
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            let NetlinkPayload::Error(answer) = message.payload else {
                continue;
            };
            let sequence = message.header.sequence_number;
            if answer.code.is_some() {
                refusals.push(Refusal {
                    index: done + sequence.wrapping_sub(first) as usize,
                    error: answer.to_io(),
                });
            }
            complete |= sequence == self.sequence;
        }
        Ok(complete)
    }
}
