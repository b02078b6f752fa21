//! Rewriting a packet into its answer. The layer-2 tags stay as they came.
//!
//! A rewriting starts only when everything that it touches has been loaded, so a packet is either
//! rewritten wholly or not at all.

mod echo;

use crate::abi::Reason;
use crate::packet::{Packet, field, put};
use crate::verdict::{Action, Answer, Verdict};

/// Time to live and hop limit of answers (RFC 1700's default).
pub const HOPS: u8 = 64;

/// Writes the answer that `verdict` asks for, if it does; returns the verdict that then holds.
#[inline(always)]
pub fn answer<P: Packet>(packet: &mut P, verdict: Verdict) -> Verdict {
    let Action::Answer(answer) = verdict.action else {
        return verdict;
    };
    let written = match answer {
        Answer::EchoV4 { network, transport } => echo::v4(packet, network, transport),
        Answer::EchoV6 { network, transport } => echo::v6(packet, network, transport),
    };
    match written {
        Some(()) => verdict,
        None => Verdict::drop(verdict.service, Reason::Unanswerable),
    }
}

/// Sends the frame back to where it came from.
#[inline(always)]
fn turn_ethernet<P: Packet>(packet: &mut P) -> Option<()> {
    let addresses = packet.load_mut::<12>(0)?;
    let destination: [u8; 6] = *field::<0, _, _>(addresses);
    let source: [u8; 6] = *field::<6, _, _>(addresses);
    put::<0, _, _>(addresses, source);
    put::<6, _, _>(addresses, destination);
    Some(())
}
