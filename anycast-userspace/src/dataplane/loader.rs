//! Loading the object: once to be attached, and once more, over the same maps, to explain.

use anycast_common::abi::{self, feature, global, map};
use aya::maps::Map;
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader, VerifierLogLevel};

use super::error::DataPlaneError;
use super::pins::PinDirectory;
use crate::config::dataplane::DataPlane as Settings;

/// Every pinned map.
pub(super) const MAPS: &[&str] = &[
    map::ADDRESSES_V4,
    map::ADDRESSES_V6,
    map::SERVICES,
    map::COUNTERS,
    map::BUCKETS,
    map::SOURCES_V4,
    map::SOURCES_V6,
    map::LIST_V4,
    map::LIST_V6,
    map::INTERFACES,
    map::IDENTITY,
    map::EXPLANATION,
];

/// What a program is loaded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To be attached: it counts.
    Serve,
    /// To be run on synthetic packets: it writes its verdict to a map, and counts nothing.
    Explain,
}

/// A loaded object.
#[derive(Debug)]
pub(super) struct Loaded {
    ebpf: Ebpf,
    program: &'static str,
}

impl Loaded {
    pub(super) fn new(
        object: &[u8],
        settings: &Settings,
        pins: &PinDirectory,
        features: u64,
        purpose: Purpose,
    ) -> Result<Self, DataPlaneError> {
        let features = match purpose {
            Purpose::Serve => features,
            Purpose::Explain => features | feature::EXPLAIN,
        };
        let services = settings.max_services + 1;
        let mut loader = EbpfLoader::new();
        loader
            // The program has no CO-RE relocations.
            .btf(None)
            .verifier_log_level(VerifierLogLevel::STATS)
            .map_max_entries(map::ADDRESSES_V4, settings.max_addresses)
            .map_max_entries(map::ADDRESSES_V6, settings.max_addresses)
            .map_max_entries(map::SERVICES, services)
            .map_max_entries(map::COUNTERS, services)
            .map_max_entries(map::BUCKETS, services)
            .map_max_entries(map::SOURCES_V4, settings.max_sources)
            .map_max_entries(map::SOURCES_V6, settings.max_sources)
            .map_max_entries(map::LIST_V4, settings.max_prefixes)
            .map_max_entries(map::LIST_V6, settings.max_prefixes)
            .override_global(global::FEATURES, &features, true);
        for map in MAPS {
            loader.map_pin_path(map, pins.of(map));
        }
        let program = if settings.multi_buffer {
            abi::PROGRAM_FRAGS
        } else {
            abi::PROGRAM
        };
        let mut loaded = Self {
            ebpf: loader.load(object)?,
            program,
        };
        loaded.program_mut()?.load()?;
        Ok(loaded)
    }

    pub(super) fn program(&self) -> Result<&Xdp, DataPlaneError> {
        let program = self
            .ebpf
            .program(self.program)
            .ok_or_else(|| self.missing())?;
        Ok(program.try_into()?)
    }

    pub(super) fn program_mut(&mut self) -> Result<&mut Xdp, DataPlaneError> {
        let missing = self.missing();
        let program = self.ebpf.program_mut(self.program).ok_or(missing)?;
        Ok(program.try_into()?)
    }

    /// Takes a map out, by its name.
    pub(super) fn take(&mut self, name: &'static str) -> Result<Map, DataPlaneError> {
        self.ebpf
            .take_map(name)
            .ok_or_else(|| DataPlaneError::Load(format!("the object has no map {name}")))
    }

    fn missing(&self) -> DataPlaneError {
        DataPlaneError::Load(format!("the object has no program {}", self.program))
    }
}
