//! How a service is announced to each peer, by its state: from the configuration to the controller.

use std::sync::Arc;

use crate::config::bgp::{OverridesByState, Peer};
use crate::config::{Attributes, Service};
use crate::controller::Announcement;
use crate::rib::AttributesByPeer;

/// How the service is announced while up, degraded, draining: to all peers, and to those whose
/// configuration replaces attributes.
pub(super) fn announcements(service: &Service, peers: &[Peer]) -> [Announcement; 3] {
    type Told = fn(&OverridesByState, &Attributes) -> Attributes;
    let states: [(Attributes, Told); 3] = [
        (service.attributes.up.clone(), OverridesByState::up),
        (service.attributes.degraded(), OverridesByState::degraded),
        (service.attributes.draining(), OverridesByState::draining),
    ];
    states.map(|(attributes, told)| {
        let by_peer: AttributesByPeer = peers
            .iter()
            .filter_map(|peer| {
                let overrides = peer.attributes.as_ref()?;
                Some((peer.name.clone(), Arc::new(told(overrides, &attributes))))
            })
            .collect();
        Announcement {
            attributes: Arc::new(attributes),
            by_peer: (!by_peer.is_empty()).then(|| Arc::new(by_peer)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_peer_with_attributes_of_its_own_is_told_them_in_every_state() {
        let config = Config::parse(
            r#"
            [node]
            name = "city-a"
            [dataplane]
            interfaces = ["eth0"]
            [bgp]
            local_as = 64512
            router_id = "10.0.1.2"
            [[bgp.peers]]
            name = "r1"
            address = "10.0.1.1"
            remote_as = 65001
            [[bgp.peers]]
            name = "r2"
            address = "10.0.2.1"
            remote_as = 65002
            attributes = { up = { prepend = 2 }, degraded = { med = 200 } }
            [[services]]
            name = "dns"
            addresses = ["192.168.250.1"]
            attributes = { up = { med = 10 } }
            "#,
        )
        .expect("valid");
        let peers = &config.bgp.as_ref().expect("there is a speaker").peers;
        let told = announcements(&config.services[0], peers).map(|announcement| {
            let r2 = Arc::clone(&announcement.by_peer.expect("r2 is told something else")["r2"]);
            let all = announcement.attributes;
            ((all.med, all.prepend), (r2.med, r2.prepend))
        });
        let worst = Some(u32::MAX);
        assert_eq!(
            told,
            [
                ((Some(10), 0), (Some(10), 2)),
                ((Some(10), 0), (Some(200), 0)),
                ((worst, 0), (worst, 2)),
            ]
        );
        let none = announcements(&config.services[0], &peers[..1]);
        assert!(
            none.iter()
                .all(|announcement| announcement.by_peer.is_none())
        );
    }
}
