//! A loaded data plane and the host's tables with the same content, side by side.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use anycast_common::abi::{self, Disposition, EVERY_SERVICE, EXEMPT, feature};
use anycast_common::host::{HostTables, IpNetwork};
use anycast_common::{Action, Reason};
use anycast_tests::packet::NODE_MAC;
use anycast_userspace::config::dataplane::DataPlane as Settings;
use anycast_userspace::dataplane::{DataPlane, Desired, Service, records};
use ipnet::IpNet;

/// The interface that BPF_PROG_TEST_RUN takes frames to come in by: the loopback.
const TEST_INTERFACE: u32 = 1;

/// A pin directory of this test's own.
pub(crate) fn pin() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    PathBuf::from(format!(
        "/sys/fs/bpf/anycast-test-{}-{number}",
        std::process::id()
    ))
}

/// Settings with a pin directory of their own.
pub(crate) fn settings() -> Settings {
    Settings {
        pin: pin(),
        ..Settings::on(["lo"])
    }
}

/// Kernel and host with the same services. Unloads when dropped.
pub(crate) struct Bed {
    plane: Option<DataPlane>,
    pub(crate) host: HostTables,
    names: Vec<String>,
}

impl Bed {
    pub(crate) fn new(services: Vec<Service>) -> Self {
        Self::with(&settings(), services)
    }

    pub(crate) fn with(settings: &Settings, services: Vec<Service>) -> Self {
        let desired = Desired {
            services,
            ..Desired::default()
        };
        Self::holding(settings, desired)
    }

    pub(crate) fn holding(settings: &Settings, desired: Desired) -> Self {
        let mut plane = DataPlane::load(settings)
            .unwrap_or_else(|error| panic!("these tests need root and a kernel with BPF: {error}"));
        plane.set_mac(TEST_INTERFACE, NODE_MAC).unwrap();
        plane.apply(&desired).unwrap();
        let mut host = HostTables {
            features: feature::ALL,
            mac: Some(NODE_MAC),
            identity: desired
                .identity
                .as_deref()
                .map(|name| records(name).unwrap()),
            now: 1_000_000_000,
            ..HostTables::default()
        };
        let mut list = |scope, nets: &[IpNet], allow| {
            host.lists.extend(nets.iter().map(|net| {
                let network = IpNetwork {
                    address: net.addr(),
                    length: net.prefix_len().into(),
                };
                (scope, network, allow)
            }));
        };
        list(EVERY_SERVICE, &desired.deny, false);
        list(EVERY_SERVICE, &desired.allow, true);
        list(EXEMPT, &desired.exempt, true);
        for (place, service) in desired.services.iter().enumerate() {
            let id = plane.id(place).unwrap();
            list(id, &service.deny, false);
            list(id, &service.allow, true);
        }
        for (place, service) in desired.services.iter().enumerate() {
            let id = plane.id(place).unwrap();
            host.services.insert(id, service.entry().unwrap());
            for address in &service.addresses {
                host.own(*address, id);
            }
        }
        Self {
            plane: Some(plane),
            host,
            names: desired
                .services
                .into_iter()
                .map(|service| service.name)
                .collect(),
        }
    }

    pub(crate) fn plane(&mut self) -> &mut DataPlane {
        self.plane.as_mut().expect("loaded until dropped")
    }

    /// The verdict of the host's build, as the kernel's is described.
    pub(crate) fn on_host(&self, frame: &[u8]) -> Seen {
        let mut after = frame.to_vec();
        let verdict = self.host.run(&mut after);
        let disposition = match verdict.action {
            Action::Pass => Disposition::Pass,
            Action::Drop => Disposition::Drop,
            Action::Answer(_) => Disposition::Answer,
        };
        let plane = self.plane.as_ref().expect("loaded until dropped");
        let service = (0..self.names.len())
            .find(|place| plane.id(*place) == Some(verdict.service))
            .map(|place| self.names[place].clone());
        assert_eq!(service.is_none(), verdict.service == abi::NO_SERVICE);
        Seen {
            disposition,
            reason: verdict.reason,
            service,
            frame: after,
        }
    }

    /// The verdict of the explaining program alone.
    pub(crate) fn explained(&mut self, frame: &[u8]) -> Seen {
        let explained = self.plane().explain(frame).unwrap();
        Seen {
            disposition: explained.disposition,
            reason: explained.reason,
            service: explained.service,
            frame: explained.frame,
        }
    }

    /// The verdict of the loaded program: reason by the explaining one, action and bytes by both.
    pub(crate) fn in_kernel(&mut self, frame: &[u8]) -> Seen {
        let explained = self.explained(frame);
        let outcome = self.plane().run(frame).unwrap();
        let action = match explained.disposition {
            Disposition::Drop => 1,
            Disposition::Pass => 2,
            Disposition::Answer => 3,
        };
        assert_eq!(
            outcome.action, action,
            "serving and explaining programs differ"
        );
        assert_eq!(
            outcome.frame, explained.frame,
            "serving and explaining programs differ"
        );
        explained
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Some(plane) = self.plane.take() {
            let unloaded = plane.unload();
            if !std::thread::panicking() {
                unloaded.unwrap();
            }
        }
    }
}

/// A verdict and what became of the frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) disposition: Disposition,
    pub(crate) reason: Reason,
    pub(crate) service: Option<String>,
    pub(crate) frame: Vec<u8>,
}

/// An address, in tests.
pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
