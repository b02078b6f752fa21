//! Keeping the attachments and the MAC addresses in step with the host's devices, which come, go and change.

use std::collections::BTreeMap;

use super::DataPlane;
use super::attach::{self, AttachedMode, Attachment, Held};
use super::error::DataPlaneError;
use crate::links::Link;
use crate::sockopt::takes_vlan_tags_off;

/// MAC addresses by the index of the interface that a frame comes in by.
pub(super) type Macs = BTreeMap<u32, [u8; 6]>;

impl DataPlane {
    /// Brings what is attached, and the MAC addresses that ARP and neighbour discovery are answered with, in
    /// step with the host's devices. An interface that is gone is waited for; where the program is missing, it
    /// is attached again. What cannot be done is logged, and tried again at the next call.
    ///
    /// True: what [`DataPlane::attachments`] shows has changed.
    pub fn follow(&mut self, links: &[Link]) -> bool {
        let before: Vec<Attachment> = self.attachments().cloned().collect();
        if let Err(error) = self.follow_attachments(links) {
            tracing::warn!(%error, "interfaces are not followed");
        }
        for held in &mut self.attached {
            held.note_vlans(links);
        }
        let macs = macs(&self.attachments().collect::<Vec<_>>(), links);
        self.teach(macs);
        before.iter().ne(self.attachments())
    }

    fn follow_attachments(&mut self, links: &[Link]) -> Result<(), DataPlaneError> {
        let multi_buffer = self.settings.multi_buffer;
        let program = self.serving.program_mut()?;
        let id = program.info()?.id();
        for held in &mut self.attached {
            match stand(&held.attachment, id, links) {
                Stand::Attached => {}
                Stand::Gone => held.lose("the interface is gone".to_owned()),
                Stand::Bare => held.attach_anew(program, multi_buffer),
            }
        }
        Ok(())
    }

    /// Makes the map of MAC addresses hold these alone, as far as there is room.
    pub(super) fn teach(&mut self, macs: Macs) {
        let gone: Vec<u32> = self
            .macs
            .keys()
            .filter(|index| !macs.contains_key(index))
            .copied()
            .collect();
        for index in gone {
            self.maps.forget_mac(index);
            self.macs.remove(&index);
        }
        for (index, mac) in macs {
            let known = self.macs.get(&index).copied();
            if known == Some(mac) {
                continue;
            }
            match self.maps.set_mac(index, mac) {
                Ok(()) => {
                    self.macs.insert(index, mac);
                    tracing::info!(
                        index,
                        mac = %written(mac),
                        before = known.map(written),
                        "answers for neighbours carry this MAC address"
                    );
                }
                Err(error) => tracing::warn!(index, %error, "the MAC address is not known"),
            }
        }
    }
}

impl Held {
    fn attach_anew(&mut self, program: &mut aya::programs::Xdp, multi_buffer: bool) {
        let interface = self.attachment.interface.clone();
        // If it is there after all, it makes room for its successor.
        self.let_go();
        match attach::attach(program, &interface, self.wanted, multi_buffer) {
            Ok(held) => {
                *self = held;
                let Attachment { index, mode, .. } = self.attachment;
                tracing::info!(interface, index, mode = mode.as_str(), "attached again");
            }
            Err(error) => self.lose(error.to_string()),
        }
    }

    fn note_vlans(&mut self, links: &[Link]) {
        let vlans = vlans(self.attachment.index, links);
        // What cannot be asked may be so.
        let hidden =
            !vlans.is_empty() && takes_vlan_tags_off(&self.attachment.interface).unwrap_or(true);
        let untagged = if hidden { vlans } else { Vec::new() };
        if hidden && untagged != self.attachment.untagged {
            let interface = &self.attachment.interface;
            tracing::warn!(
                interface,
                vlans = ?untagged,
                "the interface takes VLAN tags off before the program sees them, and answers would leave without: \
                 `ethtool -K {interface} rxvlan off`"
            );
        }
        self.attachment.untagged = untagged;
    }

    fn lose(&mut self, why: String) {
        self.let_go();
        let lost = &mut self.attachment.lost;
        if lost.as_ref() != Some(&why) {
            let interface = &self.attachment.interface;
            tracing::warn!(
                interface,
                why,
                "nothing is attached: packets are not judged"
            );
            *lost = Some(why);
        }
    }
}

/// How an attachment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    /// The program is there.
    Attached,
    /// The interface is there, under this index or another, without the program.
    Bare,
    /// There is no such interface.
    Gone,
}

/// A device that was renamed keeps the program; one that has the name of another that is gone has a new index.
fn stand(attachment: &Attachment, program: u32, links: &[Link]) -> Stand {
    let named = links.iter().find(|link| link.name == attachment.interface);
    let same = links.iter().find(|link| link.index == attachment.index);
    match named.or(same) {
        None => Stand::Gone,
        Some(link)
            if attachment.lost.is_none()
                && link.index == attachment.index
                && link.programs.contains(&program) =>
        {
            Stand::Attached
        }
        Some(_) => Stand::Bare,
    }
}

/// The MAC addresses to answer with. On a bond in native mode the program runs on the parts, whose frames are
/// answered with the bond's address.
fn macs(attachments: &[&Attachment], links: &[Link]) -> Macs {
    let mut macs = Macs::new();
    for attachment in attachments
        .iter()
        .filter(|attachment| attachment.lost.is_none())
    {
        let Some(mac) = links
            .iter()
            .find(|link| link.index == attachment.index)
            .and_then(|link| link.mac)
        else {
            continue;
        };
        macs.insert(attachment.index, mac);
        let parts = links.iter().filter(|link| {
            attachment.mode == AttachedMode::Native && link.master == Some(attachment.index)
        });
        macs.extend(parts.map(|part| (part.index, mac)));
    }
    macs
}

/// The VLAN devices on an interface.
fn vlans(index: u32, links: &[Link]) -> Vec<String> {
    links
        .iter()
        .filter(|link| link.vlan_of == Some(index))
        .map(|link| link.name.clone())
        .collect()
}

fn written(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: u32 = 70;

    fn attachment(mode: AttachedMode, lost: Option<&str>) -> Attachment {
        Attachment {
            interface: "eth0".to_owned(),
            index: 2,
            mode,
            fallback: None,
            lost: lost.map(str::to_owned),
            untagged: Vec::new(),
        }
    }

    fn link(index: u32, name: &str, programs: &[u32]) -> Link {
        Link {
            index,
            name: name.to_owned(),
            programs: programs.to_vec(),
            ..Link::default()
        }
    }

    #[test]
    fn an_interface_is_known_by_its_name_and_the_program_by_its_id() {
        for (lost, links, wanted) in [
            (None, vec![link(2, "eth0", &[PROGRAM])], Stand::Attached),
            // Renamed.
            (None, vec![link(2, "wan", &[PROGRAM])], Stand::Attached),
            (None, vec![link(3, "eth1", &[PROGRAM])], Stand::Gone),
            // Made anew, alone or beside the old one under another name.
            (None, vec![link(5, "eth0", &[])], Stand::Bare),
            (
                None,
                vec![link(2, "old", &[PROGRAM]), link(5, "eth0", &[])],
                Stand::Bare,
            ),
            // Lost its program, or has another's in its place.
            (None, vec![link(2, "eth0", &[])], Stand::Bare),
            (None, vec![link(2, "eth0", &[71])], Stand::Bare),
            (Some("gone"), vec![link(2, "eth0", &[71])], Stand::Bare),
            (Some("gone"), vec![], Stand::Gone),
        ] {
            let attachment = attachment(AttachedMode::Native, lost);
            assert_eq!(
                stand(&attachment, PROGRAM, &links),
                wanted,
                "{lost:?} {links:?}"
            );
        }
    }

    #[test]
    fn the_vlan_devices_of_an_interface_are_those_on_it() {
        let vlan = |index, name, vlan_of| Link {
            vlan_of,
            ..link(index, name, &[])
        };
        let links = [
            link(2, "eth0", &[]),
            vlan(3, "eth0.5", Some(2)),
            vlan(4, "eth1.5", Some(9)),
            vlan(5, "storage", Some(2)),
        ];
        assert_eq!(vlans(2, &links), ["eth0.5", "storage"]);
        assert!(vlans(3, &links).is_empty());
    }

    #[test]
    fn the_parts_of_a_bond_in_native_mode_answer_with_the_bond_s_mac_address() {
        let (bond, other) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let links = [
            (2, None, bond),
            (3, Some(2), other),
            (4, Some(2), bond),
            (5, None, other),
        ]
        .map(|(index, master, mac)| Link {
            index,
            master,
            mac: Some(mac),
            ..Link::default()
        });
        for (mode, lost, wanted) in [
            (AttachedMode::Native, None, vec![2, 3, 4]),
            (AttachedMode::Generic, None, vec![2]),
            (AttachedMode::Native, Some("gone"), vec![]),
        ] {
            let attachment = attachment(mode, lost);
            let wanted: Macs = wanted.into_iter().map(|index| (index, bond)).collect();
            assert_eq!(macs(&[&attachment], &links), wanted, "{mode:?}");
        }
        let silent = [link(2, "eth0", &[])];
        let attachment = attachment(AttachedMode::Native, None);
        assert_eq!(macs(&[&attachment], &silent), Macs::new());
    }
}
