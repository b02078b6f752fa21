//! Processes that are killed: the service is down before they have ended, if nobody else has the socket.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::net::UnixStream;

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{ControlMessage, MsgFlags, recvmsg, sendmsg};
use nix::unistd::Pid;

use super::*;

fn send_sigkill(holder: &Holder) {
    kill(Pid::from_raw(holder.0.id().cast_signed()), Signal::SIGKILL).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_is_down_when_kill_returns() {
    let address = own_address();
    let mut services = Services::pinned("at-once");
    let number = udp_port(&UdpSocket::bind(any(address)).unwrap()).number;
    let ports = [Port::udp(number), Port::tcp(number)];
    let mut watch = Watch::start(services.settings(&[address], &ports));
    watch.fail().await;
    for run in 0..20 {
        let holder = Holder::of(UdpSocket::bind((address, number)).unwrap());
        let other = Holder::of(TcpListener::bind((address, number)).unwrap());
        watch.pass().await;
        services.set(UP);
        send_sigkill(if run % 2 == 0 { &holder } else { &other });
        assert_eq!(services.state(), DOWN, "run {run}");
        let report = watch.fail().await;
        assert!(report.dataplane_down.is_some(), "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_those_that_hold_a_socket_only_the_last_to_be_killed_counts() {
    let address = own_address();
    let services = Services::pinned("last");
    let socket = UdpSocket::bind(any(address)).unwrap();
    let port = udp_port(&socket);
    let holders = [(); 4].map(|()| Holder::of(socket.as_fd().try_clone_to_owned().unwrap()));
    drop(socket);
    let mut watch = Watch::start(services.settings(&[address], &[port]));
    watch.pass().await;
    let [last, others @ ..] = holders;
    for holder in &others {
        send_sigkill(holder);
        assert_eq!(services.state(), UP);
    }
    // Killed once more, as an impatient operator does.
    for holder in &others {
        send_sigkill(holder);
    }
    watch.stays_silent(SOON).await;
    assert_eq!(services.state(), UP);
    send_sigkill(&last);
    assert_eq!(services.state(), DOWN);
    watch.fail().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_hold_a_socket_may_be_killed_at_once() {
    let address = own_address();
    let mut services = Services::pinned("all");
    let number = udp_port(&UdpSocket::bind(any(address)).unwrap()).number;
    let mut watch = Watch::start(services.settings(&[address], &[Port::udp(number)]));
    watch.fail().await;
    for _run in 0..5 {
        let socket = UdpSocket::bind((address, number)).unwrap();
        let holders = [(); 4].map(|()| Holder::of(socket.as_fd().try_clone_to_owned().unwrap()));
        drop(socket);
        watch.pass().await;
        services.set(UP);
        for holder in &holders {
            send_sigkill(holder);
        }
        watch.fail().await;
        assert_eq!(services.state(), DOWN);
        drop(holders);
        watch.stays_silent(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_has_it_open_twice_holds_it_once() {
    let address = own_address();
    let services = Services::pinned("twice");
    let socket = UdpSocket::bind(any(address)).unwrap();
    let port = udp_port(&socket);
    let holder = Holder(
        Command::new("sh")
            .args(["-c", "exec 5<&0 sleep 1000"])
            .stdin(Stdio::from(OwnedFd::from(socket)))
            .spawn()
            .unwrap(),
    );
    let second = PathBuf::from(format!("/proc/{}/fd/5", holder.0.id()));
    while !second.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut watch = Watch::start(services.settings(&[address], &[port]));
    watch.pass().await;
    send_sigkill(&holder);
    assert_eq!(services.state(), DOWN);
    watch.fail().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_under_way_in_a_message_outlives_the_process_that_had_it() {
    let address = own_address();
    let services = Services::pinned("message");
    let socket = UdpSocket::bind(any(address)).unwrap();
    let port = udp_port(&socket);
    let (sender, receiver) = UnixStream::pair().unwrap();
    pass_on(&sender, socket.as_raw_fd());
    let mut holder = Holder::of(socket);
    let mut watch = Watch::start(services.settings(&[address], &[port]));
    watch.pass().await;
    holder.kill();
    watch.stays_silent(RESYNCED).await;
    assert_eq!(services.state(), UP);

    let heir = take(&receiver);
    watch.stays_silent(SOON).await;
    assert_eq!(services.state(), UP);
    nix::unistd::close(heir).unwrap();
    assert_eq!(services.state(), DOWN);
    watch.fail().await;
}

fn pass_on(sender: &UnixStream, socket: RawFd) {
    let (data, rights) = ([IoSlice::new(b"x")], [socket]);
    let rights = [ControlMessage::ScmRights(&rights)];
    sendmsg::<()>(sender.as_raw_fd(), &data, &rights, MsgFlags::empty(), None).unwrap();
}

fn take(receiver: &UnixStream) -> RawFd {
    let mut byte = [0];
    let mut data = [IoSliceMut::new(&mut byte)];
    let mut space = nix::cmsg_space!(RawFd);
    let message = recvmsg::<()>(
        receiver.as_raw_fd(),
        &mut data,
        Some(&mut space),
        MsgFlags::empty(),
    )
    .unwrap();
    let rights = message.cmsgs().unwrap().find_map(|control| match control {
        nix::sys::socket::ControlMessageOwned::ScmRights(rights) => rights.first().copied(),
        _ => None,
    });
    rights.expect("a socket came with the byte")
}
