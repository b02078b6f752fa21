//! The data plane: it loads the XDP program, keeps its maps as the controller wants them, attaches it,
//! and reads its counters. aya is used here and nowhere else.
//!
//! One value owns it all, [`DataPlane`]; it makes no decision and starts no task. Its calls are
//! short system calls, so that they can be made from an async task as they are.

mod address_counters;
mod apply;
mod attach;
mod counters;
mod desired;
mod error;
mod follow;
mod identity;
pub mod index;
mod lists;
mod loader;
mod maps;
mod pins;
mod probe;
mod proof;
mod reconcile;
mod room;
mod trace;

use std::num::NonZeroU32;

use anycast_common::abi::{NO_SERVICE, feature, map};
use aya::programs::ProgramInfo;

pub use address_counters::{AddressCount, AddressCountReader};
pub use attach::{AttachedMode, Attachment};
pub use counters::{Snapshot, by_reason, total};
pub use desired::{Desired, Service, State};
pub use error::DataPlaneError;
pub use identity::records;
pub use probe::{Explained, Outcome};
pub use room::faults;
pub use trace::VerdictLog;

use crate::config::dataplane::{DataPlane as Settings, Mode};
use attach::Held;
use desired::Ids;
use follow::Macs;
use loader::{Loaded, MAPS, Purpose};
use maps::Maps;
use pins::PinDirectory;
use reconcile::Contents;
use room::Room;

/// The loaded program with its maps.
///
/// Dropping it detaches the program and leaves the pinned maps, as a crash does;
/// [`DataPlane::unload`] takes them away. Nothing that an earlier process left behind is adopted: its
/// program was detached when it ended, and its maps are replaced.
pub struct DataPlane {
    attached: Vec<Held>,
    serving: Loaded,
    explaining: Loaded,
    maps: Maps,
    pins: PinDirectory,
    room: Room,
    ids: Ids,
    /// Ids of the services of the desired state, in its order.
    order: Vec<u32>,
    installed: Contents,
    /// What the map of interfaces holds.
    macs: Macs,
    settings: Settings,
    features: u64,
    /// One of how many verdicts is logged, if any.
    trace: Option<NonZeroU32>,
}

impl DataPlane {
    /// Loads the program and pins its maps, empty; attaches nothing.
    ///
    /// # Errors
    /// [`DataPlaneError::Privileges`], [`DataPlaneError::InUse`], [`DataPlaneError::NotBpffs`], or the
    /// verifier's refusal.
    pub fn load(settings: &Settings) -> Result<Self, DataPlaneError> {
        Self::load_to(settings, None)
    }

    /// As [`DataPlane::load`], with a program that logs one of `one_of` verdicts on each CPU:
    /// [`DataPlane::verdict_log`] reads them.
    ///
    /// # Errors
    /// As [`DataPlane::load`].
    pub fn load_tracing(settings: &Settings, one_of: NonZeroU32) -> Result<Self, DataPlaneError> {
        Self::load_to(settings, Some(one_of))
    }

    fn load_to(settings: &Settings, trace: Option<NonZeroU32>) -> Result<Self, DataPlaneError> {
        let pins = PinDirectory::open(&settings.pin)?;
        pins.clear(MAPS)?;
        let features = always(settings);
        let room = Room::of(settings);
        let rows = index::rows(settings.max_addresses);
        let loaded =
            Self::over(&pins, settings, features, trace).and_then(|(mut serving, explaining)| {
                Ok((Maps::take(&mut serving, room, rows)?, serving, explaining))
            });
        match loaded {
            Ok((maps, serving, explaining)) => Ok(Self {
                maps,
                attached: Vec::new(),
                serving,
                explaining,
                pins,
                room,
                ids: Ids::default(),
                order: Vec::new(),
                installed: Contents::default(),
                macs: Macs::new(),
                settings: settings.clone(),
                features,
                trace,
            }),
            Err(error) => {
                // The first error is the one to tell.
                let _also = pins.clear(MAPS).and_then(|()| pins.remove());
                Err(error)
            }
        }
    }

    fn over(
        pins: &PinDirectory,
        settings: &Settings,
        features: u64,
        trace: Option<NonZeroU32>,
    ) -> Result<(Loaded, Loaded), DataPlaneError> {
        let load = |purpose| Loaded::new(settings, pins, features, purpose);
        let serve = trace.map_or(Purpose::Serve, Purpose::Trace);
        Ok((load(serve)?, load(Purpose::Explain)?))
    }

    /// Loads the program anew with `features`, over the same maps, and puts it in the place of the
    /// present one wherever that is attached, one interface after the other. Where one refuses, it and those
    /// after it keep the present program; either serves from the same maps.
    fn reload(&mut self, features: u64) -> Result<(), DataPlaneError> {
        let (mut serving, explaining) =
            Self::over(&self.pins, &self.settings, features, self.trace)?;
        let (next, present) = (serving.program_mut()?, self.serving.program_mut()?);
        for held in &mut self.attached {
            held.replace(present, next)?;
        }
        self.serving = serving;
        self.explaining = explaining;
        self.features = features;
        Ok(())
    }

    /// Attaches to an interface of the caller's network namespace.
    ///
    /// # Errors
    /// [`DataPlaneError::Full`], [`DataPlaneError::NoInterface`], [`DataPlaneError::Occupied`] where another XDP program is,
    /// [`DataPlaneError::Attach`] with the mode that was refused.
    pub fn attach(&mut self, interface: &str, mode: Mode) -> Result<&Attachment, DataPlaneError> {
        self.room.fits(map::INTERFACES, self.attached.len() + 1)?;
        let multi_buffer = self.settings.multi_buffer;
        let held = attach::attach(self.serving.program_mut()?, interface, mode, multi_buffer)?;
        if let Some(mac) = attach::mac_of(interface) {
            self.maps.set_mac(held.attachment.index, mac)?;
            self.macs.insert(held.attachment.index, mac);
        }
        let place = self.attached.len();
        self.attached.push(held);
        Ok(&self.attached[place].attachment)
    }

    /// Detaches from an interface; false: it was not attached there.
    pub fn detach(&mut self, interface: &str) -> bool {
        let Some(place) = self
            .attachments()
            .position(|attachment| attachment.interface == interface)
        else {
            return false;
        };
        let held = self.attached.remove(place);
        self.maps.forget_mac(held.attachment.index);
        self.macs.remove(&held.attachment.index);
        true
    }

    /// Where the program is attached.
    pub fn attachments(&self) -> impl Iterator<Item = &Attachment> {
        self.attached.iter().map(|held| &held.attachment)
    }

    /// Teaches the program the MAC address that an interface answers ARP and neighbour discovery with.
    /// [`DataPlane::attach`] and [`DataPlane::follow`] do it; this is for interfaces that they do not know of.
    ///
    /// # Errors
    /// [`DataPlaneError::Map`].
    pub fn set_mac(&mut self, index: u32, mac: [u8; 6]) -> Result<(), DataPlaneError> {
        self.maps.set_mac(index, mac)
    }

    /// Writes the state of one service: exactly one map write, whatever the number of its addresses.
    ///
    /// `service` is its place in the desired state.
    ///
    /// # Errors
    /// [`DataPlaneError::NoService`], [`DataPlaneError::Map`].
    pub fn flip(&mut self, service: usize, state: State) -> Result<(), DataPlaneError> {
        let (id, entry) = self.entry(service)?;
        let entry = anycast_common::abi::Service {
            state: state.number(),
            ..entry
        };
        self.maps.set_service(id, entry)?;
        self.installed.services.insert(id, entry);
        Ok(())
    }

    fn entry(&self, service: usize) -> Result<(u32, anycast_common::abi::Service), DataPlaneError> {
        self.order
            .get(service)
            .and_then(|id| Some((*id, *self.installed.services.get(id)?)))
            .ok_or(DataPlaneError::NoService(service))
    }

    /// The id of a service in the maps, by its place in the desired state.
    pub fn id(&self, service: usize) -> Option<u32> {
        self.order.get(service).copied()
    }

    /// Map writes since the load.
    pub const fn writes(&self) -> u64 {
        self.maps.writes()
    }

    /// Reads the counters.
    ///
    /// # Errors
    /// [`DataPlaneError::Map`].
    pub fn counters(&self) -> Result<Snapshot, DataPlaneError> {
        Ok(Snapshot {
            services: self
                .order
                .iter()
                .map(|id| self.maps.counters(*id))
                .collect::<Result<_, _>>()?,
            unowned: self.maps.counters(NO_SERVICE)?,
        })
    }

    /// Reads the counters of the Service Addresses; `None`: they are off.
    pub fn address_counters(&self) -> Option<AddressCountReader> {
        self.settings
            .address_counters
            .then(|| self.maps.address_counters())
    }

    /// The log of verdicts, once, with the services' present names.
    ///
    /// # Errors
    /// [`DataPlaneError::Load`] where the program was not loaded to trace, or the log is taken already.
    pub fn verdict_log(&mut self) -> Result<VerdictLog, DataPlaneError> {
        self.serving.log(&self.ids)
    }

    /// Instructions that the verifier walked through to accept the attached program.
    pub fn verified_instructions(&self) -> Option<u32> {
        self.info(false).ok()?.verified_instruction_count()
    }

    /// What the kernel says of a loaded program: of the one that is attached, or of its twin that explains.
    ///
    /// # Errors
    /// [`DataPlaneError::Load`].
    pub fn info(&self, explaining: bool) -> Result<ProgramInfo, DataPlaneError> {
        let loaded = if explaining {
            &self.explaining
        } else {
            &self.serving
        };
        Ok(loaded.program()?.info()?)
    }

    /// Detaches everywhere, and removes the pins.
    ///
    /// # Errors
    /// [`DataPlaneError::Pin`]; everything is detached even then.
    pub fn unload(self) -> Result<(), DataPlaneError> {
        let Self { attached, pins, .. } = self;
        drop(attached);
        pins.clear(MAPS)?;
        pins.remove()
    }
}

/// Features that do not depend on the desired state.
const fn always(settings: &Settings) -> u64 {
    if settings.address_counters {
        feature::ADDRESS_COUNTERS
    } else {
        0
    }
}
