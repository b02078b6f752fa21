//! With the real data plane: what its program does with a packet right after close().

use anycast_userspace::config::dataplane::DataPlane as DataPlaneSettings;
use anycast_userspace::dataplane::{DataPlane, Desired, Service, State};

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_data_plane_stops_answering_for_a_service_in_the_call_that_closes_its_socket() {
    let pin = PathBuf::from(format!("/sys/fs/bpf/listener-{}-plane", std::process::id()));
    let mut plane = DataPlane::load(&DataPlaneSettings {
        pin: pin.clone(),
        ..DataPlaneSettings::on(["lo"])
    })
    .unwrap();
    let (address, bystander) = (own_address(), own_address());
    let service = |name: &str, address| Service {
        name: name.to_owned(),
        state: State::Up,
        addresses: vec![address],
        ..Service::default()
    };
    plane
        .apply(&Desired {
            services: vec![service("bystander", bystander), service("dns", address)],
            ..Desired::default()
        })
        .unwrap();
    let socket = UdpSocket::bind(any(address)).unwrap();
    let mut settings = settings(&[address], &[udp_port(&socket)]);
    settings.watched[0].dataplane = plane.id(1);
    settings.services_pin = Some(pin.join("SERVICES"));
    let mut watch = Watch::start(settings);
    watch.pass().await;
    plane.prove(address).unwrap();

    drop(socket);
    let refused = plane.prove(address).unwrap_err().to_string();
    assert!(refused.contains("down"), "{refused}");
    plane.prove(bystander).unwrap();
    assert!(watch.fail().await.dataplane_down.is_some());

    plane.flip(1, State::Down).unwrap();
    plane.flip(1, State::Up).unwrap();
    plane.prove(address).unwrap();
    plane.unload().unwrap();
}
