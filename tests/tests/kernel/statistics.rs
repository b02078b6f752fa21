//! The statistics of a loaded program: it is relocated over the maps that it uses, and verified again.

use std::collections::HashSet;
use std::os::fd::{AsFd as _, AsRawFd as _};

use anycast_tests::verifier::{Load, Walk};
use anyhow::{Context as _, bail, ensure};
use aya::maps::{MapData, MapInfo};
use aya::programs::ProgramInfo;
use aya_obj::generated::{bpf_attach_type, bpf_prog_type};
use aya_obj::{Object, ProgramSection};
use serde::Serialize;

/// BPF_F_XDP_HAS_FRAGS of linux/bpf.h.
const HAS_FRAGS: u32 = 1 << 5;

/// The kernel keeps this much of a map's name.
const MAP_NAME: usize = 15;

/// One line of output.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    program: &'static str,
    with: &'static str,
    #[serde(flatten)]
    walk: Walk,
    /// Bytes of the program as the verifier left it.
    translated: u32,
    /// Bytes of machine code.
    jited: u32,
}

impl Line {
    /// Prints it, at once.
    pub(crate) fn print(&self) -> anyhow::Result<()> {
        println!("{}", serde_json::to_string(self)?);
        Ok(())
    }

    /// What the verifier says of `program` of `object`, which the kernel knows as `info`.
    pub(crate) fn of(
        object: &[u8],
        program: &'static str,
        with: &'static str,
        info: &ProgramInfo,
    ) -> anyhow::Result<Self> {
        let walk = walk(object, program, info)
            .with_context(|| format!("program {program} with {with}"))?;
        // The same program then, not merely one like it.
        ensure!(
            info.verified_instruction_count() == Some(walk.processed),
            "{program} with {with}: the loaded one took {:?} instructions, the reloaded one {}",
            info.verified_instruction_count(),
            walk.processed
        );
        Ok(Self {
            program,
            with,
            walk,
            translated: info
                .size_translated()
                .context("the kernel tells no translated size")?,
            jited: info.size_jitted(),
        })
    }
}

fn walk(object: &[u8], program: &str, info: &ProgramInfo) -> anyhow::Result<Walk> {
    let mut object = Object::parse(object)?;
    let held = info
        .map_ids()?
        .context("the kernel tells no maps")?
        .into_iter()
        .map(|id| {
            let info = MapInfo::from_id(id)?;
            let name = info.name_as_str().unwrap_or_default().to_owned();
            Ok((name, MapData::from_id(id)?))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let maps = object.maps.clone();
    let used = maps.iter().filter_map(|(name, map)| {
        let short = &name[..name.len().min(MAP_NAME)];
        let (_, data) = held.iter().find(|(held, _)| held == short)?;
        Some((name.as_str(), data.fd().as_fd().as_raw_fd(), map))
    });
    let wanted = object
        .programs
        .remove(program)
        .with_context(|| format!("the object has no program {program}"))?;
    // The others may use maps that this one does not.
    for other in std::mem::take(&mut object.programs).into_values() {
        object.functions.remove(&other.function_key());
    }
    object.programs.insert(program.to_owned(), wanted.clone());
    let text: HashSet<usize> = object.functions.keys().map(|key| key.0).collect();
    object.relocate_maps(used, &text)?;
    object.relocate_calls(&text)?;
    let instructions: Vec<u8> = object.functions[&wanted.function_key()]
        .instructions
        .iter()
        .flat_map(|instruction| {
            let [offset, more] = instruction.off.to_le_bytes();
            let [a, b, c, d] = instruction.imm.to_le_bytes();
            let registers = instruction.src_reg() << 4 | instruction.dst_reg();
            [instruction.code, registers, offset, more, a, b, c, d]
        })
        .collect();
    let (kind, attach, flags) = match wanted.section {
        ProgramSection::Xdp { frags, attach_type } => (
            bpf_prog_type::BPF_PROG_TYPE_XDP,
            bpf_attach_type::from(attach_type),
            if frags { HAS_FRAGS } else { 0 },
        ),
        ProgramSection::CgroupSock { attach_type } => (
            bpf_prog_type::BPF_PROG_TYPE_CGROUP_SOCK,
            bpf_attach_type::from(attach_type),
            0,
        ),
        other => bail!("nothing here loads programs of {other:?}"),
    };
    Load {
        kind: kind as u32,
        attach: attach as u32,
        flags,
        instructions: &instructions,
    }
    .walk()
}
