//! xdp-filter of xdp-tools: its own objects, loaded without its dispatcher, with one rule.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use aya::EbpfLoader;
use aya::maps::{PerCpuHashMap, PerCpuValues};
use aya::util::nr_cpus;

use crate::bed::Loaded;
use crate::frames;
use crate::tables::service;

/// Where Debian's package xdp-tools keeps them.
pub(crate) const DIRECTORY: &str = "/usr/lib/x86_64-linux-gnu/bpf";

/// MAP_FLAG_DST of xdp-filter's common_kern_user.h: the rule is about destinations.
const DESTINATION: u64 = 1 << 1;

/// Which of the objects. Both drop what their rules name and pass the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum XdpFilter {
    /// Looks at IP addresses alone.
    Ip,
    /// Looks at everything that it knows.
    All,
}

impl XdpFilter {
    const fn file(self) -> &'static str {
        match self {
            Self::Ip => "xdpfilt_alw_ip.o",
            Self::All => "xdpfilt_alw_all.o",
        }
    }

    const fn program(self) -> &'static str {
        match self {
            Self::Ip => "xdpfilt_alw_ip",
            Self::All => "xdpfilt_alw_all",
        }
    }
}

/// Whether the objects are there.
pub(crate) fn are_in(directory: &Path) -> bool {
    [XdpFilter::Ip, XdpFilter::All]
        .iter()
        .all(|which| directory.join(which.file()).is_file())
}

/// Loads one, with a rule that drops what goes to the service that is down.
pub(crate) fn load(which: XdpFilter, directory: &Path, pins: &Path) -> anyhow::Result<Loaded> {
    let path = directory.join(which.file());
    let object = fs::read(&path)
        .with_context(|| format!("cannot read {} (package xdp-tools)", path.display()))?;
    let pins = pins.join(which.program());
    fs::create_dir_all(&pins)?;
    let ebpf = EbpfLoader::new()
        .btf(None)
        .default_map_pin_directory(&pins)
        .load(&object)?;
    let mut loaded = Loaded::load(ebpf, which.program())?;
    let mut rules: PerCpuHashMap<_, u32, u64> = loaded.map("filter_ipv4")?.try_into()?;
    let address = u32::from_ne_bytes(frames::v4(service::DOWN).octets());
    let flags = vec![DESTINATION; nr_cpus().map_err(|(_, error)| error)?];
    rules.insert(address, PerCpuValues::try_from(flags)?, 0)?;
    Ok(loaded)
}
