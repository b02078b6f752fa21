//! What the loaded program does with one frame: the proof that it serves, and the reason of a verdict.

use std::net::IpAddr;

use anycast_common::Reason;
use anycast_common::abi::{Disposition, map};

use super::DataPlane;
use super::error::DataPlaneError;
use super::probe::{self, Explained, Outcome};

/// XDP_TX of the kernel's `enum xdp_action`.
const XDP_TX: u32 = 3;

impl DataPlane {
    /// Proves that the loaded program serves `address`: runs it on an echo request, and requires an
    /// answer of the program that is attached and the reason of its explaining twin. A request that lists
    /// or limits refuse proves as much, since they are asked only of a service that is up.
    ///
    /// The request is counted as any packet is.
    ///
    /// # Errors
    /// [`DataPlaneError::NotProved`] with what was done instead, [`DataPlaneError::Run`].
    pub fn prove(&self, address: IpAddr) -> Result<Explained, DataPlaneError> {
        let frame = probe::echo_request(address);
        // In this order, so that a limit that has room for one more shows as a limit, not as a drop.
        let outcome = probe::run(self.serving.program()?, &frame)?;
        let explained = self.explain(&frame)?;
        let answered = explained.reason == Reason::Echo
            && outcome.action == XDP_TX
            && outcome.frame == explained.frame;
        if answered || serves_but_refuses(explained.reason) {
            return Ok(explained);
        }
        Err(DataPlaneError::NotProved {
            address,
            found: format!(
                "verdict {} ({:?}), XDP action {}",
                explained.reason.name(),
                explained.disposition,
                outcome.action
            ),
        })
    }

    /// Runs the loaded program on a frame and says its verdict and reason. Nothing is counted.
    ///
    /// # Errors
    /// [`DataPlaneError::Run`]; the kernel takes frames from 14 bytes to about a page.
    pub fn explain(&self, frame: &[u8]) -> Result<Explained, DataPlaneError> {
        let before = self.maps.explanation()?.sequence;
        let outcome = probe::run(self.explaining.program()?, frame)?;
        let found = self.maps.explanation()?;
        let disposition = [Disposition::Pass, Disposition::Drop, Disposition::Answer]
            .into_iter()
            .find(|known| *known as u32 == found.disposition);
        match (disposition, Reason::from_number(found.reason)) {
            (Some(disposition), Some(reason)) if found.sequence != before => Ok(Explained {
                disposition,
                reason,
                service: self.ids.name(found.service).map(str::to_owned),
                frame: outcome.frame,
            }),
            _ => Err(DataPlaneError::Load(format!(
                "map {} holds no verdict after a run",
                map::EXPLANATION
            ))),
        }
    }

    /// Runs the very program that is attached on a frame. It counts the frame.
    ///
    /// # Errors
    /// [`DataPlaneError::Run`].
    pub fn run(&self, frame: &[u8]) -> Result<Outcome, DataPlaneError> {
        probe::run(self.serving.program()?, frame)
    }
}

/// Whether a request was refused for its source or its rate: the program comes to such reasons only after
/// it has found the service to be up.
const fn serves_but_refuses(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Denied | Reason::SourceLimited | Reason::ServiceLimited | Reason::EchoLimited
    )
}
