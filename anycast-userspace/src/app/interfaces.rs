//! What is shown of the interfaces that the program is attached to.

use crate::control::protocol::InterfaceStatus;
use crate::dataplane::{Attachment, DataPlane};

/// The mode of an interface that has nothing attached.
const NONE: &str = "none";

pub(super) fn statuses(plane: &DataPlane) -> Vec<InterfaceStatus> {
    plane.attachments().map(status).collect()
}

fn status(attachment: &Attachment) -> InterfaceStatus {
    let Attachment {
        interface,
        mode,
        fallback,
        lost,
        ..
    } = attachment;
    InterfaceStatus {
        name: interface.clone(),
        mode: lost.as_ref().map_or(mode.as_str(), |_| NONE).to_owned(),
        note: lost.as_ref().or(fallback.as_ref()).cloned(),
    }
}
