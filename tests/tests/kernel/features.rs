//! The XDP programs with the features that configurations ask for, each loaded as the daemon loads it.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use anycast_common::abi;
use anycast_userspace::config::dataplane::{
    DataPlane as Settings, Limits, Policy, Rate, SourceLimit,
};
use anycast_userspace::dataplane::{DataPlane, Desired, Service, State};
use anyhow::Context as _;

use crate::statistics::Line;

const NOTHING: &str = "nothing optional";
const EVERYTHING: &str = "everything";
/// The row of the programs that explain, which are loaded beside the serving ones.
const EXPLAINING: &str = "everything, explaining";
/// The feature that is a setting of its own.
const COUNTING: &str = "address counters";
/// The most that can be asked for.
const EVERYTHING_COUNTING: &str = "everything, and address counters";
/// The row of the programs that log verdicts.
const TRACING: &str = "everything, logging verdicts";

/// Settings with a pin directory of their own.
pub(crate) fn settings(name: &str) -> Settings {
    Settings {
        pin: PathBuf::from(format!(
            "/sys/fs/bpf/anycast-kernel-{}-{name}",
            std::process::id()
        )),
        ..Settings::on(["lo"])
    }
}

/// A service that is up, with one address of each family.
pub(crate) fn service() -> Service {
    Service {
        name: "dns".to_owned(),
        state: State::Up,
        addresses: ["192.168.250.1", "fd00:250::1"]
            .iter()
            .map(|text| text.parse::<IpAddr>().expect("an address"))
            .collect(),
        ports: ["udp/53", "tcp/53"]
            .iter()
            .map(|text| text.parse().expect("a port"))
            .collect(),
        ..Service::default()
    }
}

/// What a configuration asks for.
struct Set {
    name: &'static str,
    desired: Desired,
    address_counters: bool,
}

/// What configurations ask for.
fn sets() -> Vec<Set> {
    let neighbor = |service: Service| Service {
        neighbor: true,
        ..service
    };
    let lists = |service: Service| Service {
        deny: vec!["198.51.100.0/24".parse().expect("a prefix")],
        ..service
    };
    let service_limits = |service: Service| Service {
        limits: Limits {
            echo: Some(Rate::per_second(1000)),
            ..service.limits
        },
        ..service
    };
    let source_limits = |service: Service| Service {
        limits: Limits {
            source: Some(SourceLimit {
                rate: 1000,
                burst: None,
                v4_prefix: 32,
                v6_prefix: 64,
            }),
            ..service.limits
        },
        ..service
    };
    let reject = |service: Service| Service {
        unlisted: Policy::Reject,
        ..service
    };
    let identity = |service: Service| Service {
        identity: true,
        ..service
    };
    let all = |service| {
        neighbor(lists(service_limits(source_limits(reject(identity(
            service,
        ))))))
    };
    [
        (NOTHING, service(), false),
        ("neighbor", neighbor(service()), false),
        ("lists", lists(service()), false),
        ("limits of services", service_limits(service()), false),
        ("limits of sources", source_limits(service()), false),
        ("reject", reject(service()), false),
        ("identity", identity(service()), false),
        (COUNTING, service(), true),
        (EVERYTHING, all(service()), false),
        (EVERYTHING_COUNTING, all(service()), true),
    ]
    .into_iter()
    .map(|(name, service, address_counters)| Set {
        name,
        desired: Desired {
            services: vec![service],
            identity: Some("node".to_owned()),
            ..Desired::default()
        },
        address_counters,
    })
    .collect()
}

/// Loads the programs with the least and the most features, and those that log verdicts with the most. With
/// `statistics` it loads the plain program with every set, and prints a line for each loaded program.
pub(crate) fn load_all(statistics: bool) -> anyhow::Result<()> {
    for (program, multi_buffer) in [(abi::PROGRAM, false), (abi::PROGRAM_FRAGS, true)] {
        for set in sets() {
            let Set { name, desired, .. } = &set;
            let least_or_most = [NOTHING, EVERYTHING, EVERYTHING_COUNTING].contains(name);
            if !least_or_most && (multi_buffer || !statistics) {
                continue;
            }
            let settings = Settings {
                multi_buffer,
                address_counters: set.address_counters,
                ..settings("features")
            };
            let mut plane = DataPlane::load(&settings)?;
            plane
                .apply(desired)
                .with_context(|| format!("{program} with {name}"))?;
            if statistics {
                print(&plane, program, name)?;
            }
            plane.unload()?;
            if *name == EVERYTHING {
                load_tracing(&settings, desired, program, statistics)?;
            } else if *name == EVERYTHING_COUNTING {
                load_tracing(&settings, desired, program, false)?;
            }
        }
    }
    Ok(())
}

fn load_tracing(
    settings: &Settings,
    desired: &Desired,
    program: &'static str,
    statistics: bool,
) -> anyhow::Result<()> {
    let mut plane = DataPlane::load_tracing(settings, NonZeroU32::MIN)?;
    plane
        .apply(desired)
        .with_context(|| format!("{program} with {TRACING}"))?;
    if statistics {
        let object = anycast_userspace::TRACING_OBJECT;
        Line::of(object, program, TRACING, &plane.info(false)?)?.print()?;
    }
    plane.unload()?;
    Ok(())
}

fn print(plane: &DataPlane, program: &'static str, with: &'static str) -> anyhow::Result<()> {
    let line = |with, explaining| {
        let info = plane.info(explaining)?;
        Line::of(anycast_userspace::OBJECT, program, with, &info)?.print()
    };
    line(with, false)?;
    if with == EVERYTHING {
        line(EXPLAINING, true)?;
    }
    Ok(())
}
