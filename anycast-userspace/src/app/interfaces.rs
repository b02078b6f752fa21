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
        index: _,
        mode,
        fallback,
        lost,
        untagged,
    } = attachment;
    let name = interface.clone();
    if let Some(why) = lost {
        return InterfaceStatus {
            name,
            mode: NONE.to_owned(),
            note: Some(why.clone()),
        };
    }
    let hidden = (!untagged.is_empty()).then(|| {
        let vlans = untagged.join(", ");
        format!("tags of {vlans} are not seen: `ethtool -K {interface} rxvlan off`")
    });
    let notes: Vec<String> = fallback.iter().cloned().chain(hidden).collect();
    InterfaceStatus {
        name,
        mode: mode.as_str().to_owned(),
        note: (!notes.is_empty()).then(|| notes.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::AttachedMode;

    #[test]
    fn a_note_says_why_nothing_is_attached_or_else_what_to_know_of_it() {
        let refused = "the driver of eth0 refused native mode";
        let tags = "tags of eth0.5, eth0.6 are not seen: `ethtool -K eth0 rxvlan off`";
        let both = format!("{refused}; {tags}");
        for (mode, fallback, lost, untagged, shown, note) in [
            (AttachedMode::Native, None, None, vec![], "native", None),
            (
                AttachedMode::Generic,
                Some(refused),
                None,
                vec![],
                "generic",
                Some(refused),
            ),
            (
                AttachedMode::Native,
                None,
                None,
                vec!["eth0.5", "eth0.6"],
                "native",
                Some(tags),
            ),
            (
                AttachedMode::Generic,
                Some(refused),
                None,
                vec!["eth0.5", "eth0.6"],
                "generic",
                Some(&both),
            ),
            (
                AttachedMode::Generic,
                Some(refused),
                Some("gone"),
                vec!["eth0.5"],
                "none",
                Some("gone"),
            ),
        ] {
            let attachment = Attachment {
                interface: "eth0".to_owned(),
                index: 2,
                mode,
                fallback: fallback.map(str::to_owned),
                lost: lost.map(str::to_owned),
                untagged: untagged.into_iter().map(str::to_owned).collect(),
            };
            let status = status(&attachment);
            assert_eq!(
                (status.mode.as_str(), status.note.as_deref()),
                (shown, note)
            );
        }
    }
}
