//! The `listener` programs on the real kernel: they load, attach to the cgroup, and take the service down in
//! the call that closes its socket.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Duration;

use anycast_common::listener::{PROGRAM_BIND4, PROGRAM_BIND6, PROGRAM_RELEASE};
use anycast_userspace::dataplane::{DataPlane, Desired, Service, State};
use anycast_userspace::listener::{self, Port, Report, Watched, Watcher};
use anyhow::{Context as _, ensure};
use aya::programs::{ProgramInfo, loaded_programs};
use tokio::sync::mpsc;

use crate::features::settings;
use crate::statistics::Line;

const PATIENCE: Duration = Duration::from_secs(10);
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 250, 250, 1));
/// The kernel keeps this much of a program's name.
const PROGRAM_NAME: usize = 15;

/// Watches a socket and closes it; prints with `statistics` what the verifier says of the programs.
pub(crate) fn close_one(statistics: bool) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(watch_one(statistics))
}

async fn watch_one(statistics: bool) -> anyhow::Result<()> {
    let settings = settings("sockets");
    let mut plane = DataPlane::load(&settings)?;
    plane.apply(&Desired {
        services: vec![Service {
            name: "dns".to_owned(),
            state: State::Up,
            addresses: vec![ADDRESS],
            ..Service::default()
        }],
        ..Desired::default()
    })?;
    let socket = UdpSocket::bind((ADDRESS, 0))?;
    let (sender, mut reports) = mpsc::channel(64);
    let watcher = Watcher::spawn(
        listener::Settings {
            watched: vec![Watched {
                service: 0,
                check: 0,
                dataplane: plane.id(0),
                addresses: vec![ADDRESS],
                ports: vec![Port::udp(socket.local_addr()?.port())],
            }],
            cgroup: None,
            services_pin: Some(settings.pin.join("SERVICES")),
        },
        sender,
    )?;
    let report = next(&mut reports).await?;
    ensure!(report.outcome.passed(), "not seen as open: {report:?}");
    plane.prove(ADDRESS)?;
    if statistics {
        for name in [PROGRAM_RELEASE, PROGRAM_BIND4, PROGRAM_BIND6] {
            Line::of(listener::OBJECT, name, "", &loaded(name)?)?.print()?;
        }
    }
    drop(socket);
    ensure!(
        plane.prove(ADDRESS).is_err(),
        "the data plane still answers after the socket was closed"
    );
    let report = next(&mut reports).await?;
    ensure!(
        !report.outcome.passed() && report.dataplane_down.is_some(),
        "not seen as closed: {report:?}"
    );
    drop(watcher);
    plane.unload()?;
    Ok(())
}

async fn next(reports: &mut mpsc::Receiver<Report>) -> anyhow::Result<Report> {
    tokio::time::timeout(PATIENCE, reports.recv())
        .await
        .context("no report in time")?
        .context("the watcher has ended")
}

/// The newest program of this name.
fn loaded(name: &str) -> anyhow::Result<ProgramInfo> {
    let short = &name[..name.len().min(PROGRAM_NAME)];
    let mut newest = None;
    for info in loaded_programs() {
        let info = info?;
        if info.name_as_str() == Some(short) {
            newest = Some(info);
        }
    }
    newest.with_context(|| format!("no program {name} is loaded"))
}
