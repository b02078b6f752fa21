//! Loading the object: once to be attached, and once more, over the same maps, to explain.

use std::num::NonZeroU32;

use anycast_common::abi::index::shift;
use anycast_common::abi::{self, feature, global, map};
use aya::maps::Map;
use aya::programs::{ProgramError, Xdp};
use aya::{Ebpf, EbpfLoader, VerifierLogLevel};
use nix::sys::time::TimeValLike as _;
use nix::time::{ClockId, clock_getres};

use super::desired::Ids;
use super::error::DataPlaneError;
use super::index;
use super::pins::PinDirectory;
use super::trace::VerdictLog;
use crate::config::dataplane::DataPlane as Settings;

/// Every pinned map. That of the log is in the tracing object alone.
pub(super) const MAPS: &[&str] = &[
    map::ADDRESSES_V4,
    map::ADDRESSES_V6,
    map::INDEX_V4,
    map::INDEX_V6,
    map::SERVICES,
    map::COUNTERS,
    map::ADDRESS_COUNTERS,
    map::BUCKETS,
    map::SOURCES_V4,
    map::SOURCES_V6,
    map::LIST_V4,
    map::LIST_V6,
    map::INTERFACES,
    map::IDENTITY,
    map::EXPLANATION,
    map::AYA_LOGS,
];

/// What a program is loaded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To be attached: it counts.
    Serve,
    /// To be attached: it counts, and logs one of this many verdicts on each CPU.
    Trace(NonZeroU32),
    /// To be run on synthetic packets: it writes its verdict to a map, and counts nothing.
    Explain,
}

/// How often a load that a signal has interrupted is tried.
const TRIES: usize = 5;

/// Nanoseconds of a tick of this kernel: what its coarse clock advances by.
fn tick_ns() -> Result<u32, DataPlaneError> {
    let tick = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE).map_err(|errno| {
        DataPlaneError::Load(format!("the kernel does not tell its tick: {errno}"))
    })?;
    u32::try_from(tick.num_nanoseconds())
        .map_err(|_| DataPlaneError::Load(format!("the kernel's tick is {tick}")))
}

/// Loads a program. The verifier gives up with EAGAIN when a signal is pending, and wants to be asked again.
fn load(program: &mut Xdp) -> Result<(), ProgramError> {
    for _ in 1..TRIES {
        match program.load() {
            Err(ProgramError::LoadError { io_error, .. })
                if io_error.raw_os_error() == Some(libc::EAGAIN) => {}
            loaded => return loaded,
        }
    }
    program.load()
}

/// A loaded object.
#[derive(Debug)]
pub(super) struct Loaded {
    ebpf: Ebpf,
    program: &'static str,
}

impl Loaded {
    pub(super) fn new(
        settings: &Settings,
        pins: &PinDirectory,
        features: u64,
        purpose: Purpose,
    ) -> Result<Self, DataPlaneError> {
        let features = match purpose {
            Purpose::Serve | Purpose::Trace(_) => features,
            Purpose::Explain => (features | feature::EXPLAIN) & !feature::ADDRESS_COUNTERS,
        };
        let services = settings.max_services + 1;
        let counted_addresses = if settings.address_counters {
            2 * settings.max_addresses + 1
        } else {
            1
        };
        let rows = index::rows(settings.max_addresses);
        let shift = shift(rows);
        let tick = tick_ns()?;
        let mut loader = EbpfLoader::new();
        loader
            // The program has no CO-RE relocations.
            .btf(None)
            .verifier_log_level(VerifierLogLevel::STATS)
            .map_max_entries(map::ADDRESSES_V4, settings.max_addresses)
            .map_max_entries(map::ADDRESSES_V6, settings.max_addresses)
            .map_max_entries(map::INDEX_V4, rows)
            .map_max_entries(map::INDEX_V6, rows)
            .map_max_entries(map::SERVICES, services)
            .map_max_entries(map::COUNTERS, services)
            .map_max_entries(map::ADDRESS_COUNTERS, counted_addresses)
            .map_max_entries(map::BUCKETS, services)
            .map_max_entries(map::SOURCES_V4, settings.max_sources)
            .map_max_entries(map::SOURCES_V6, settings.max_sources)
            .map_max_entries(map::LIST_V4, settings.max_prefixes)
            .map_max_entries(map::LIST_V6, settings.max_prefixes)
            .map_max_entries(map::INTERFACES, settings.max_interfaces)
            .override_global(global::FEATURES, &features, true)
            .override_global(global::INDEX_SHIFT, &shift, true)
            .override_global(global::TICK_NS, &tick, true);
        let every;
        let object = match purpose {
            Purpose::Serve | Purpose::Explain => crate::OBJECT,
            Purpose::Trace(one_of) => {
                every = one_of.get();
                loader.override_global(global::TRACE_EVERY, &every, true);
                crate::TRACING_OBJECT
            }
        };
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
        load(loaded.program_mut()?)?;
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

    /// The reader of the log, which only a program loaded to trace has.
    pub(super) fn log(&mut self, ids: &Ids) -> Result<VerdictLog, DataPlaneError> {
        VerdictLog::of(&mut self.ebpf, ids)
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
