//! Sockets elsewhere: in another network namespace, in another cgroup.

use std::sync::mpsc as threads;

use nix::sched::{CloneFlags, unshare};

use super::*;

/// A thread in a network namespace of its own that holds a socket until this is dropped.
struct Elsewhere {
    _release: threads::Sender<()>,
}

impl Elsewhere {
    fn bind(port: Port) -> Self {
        let (release, wait) = threads::channel::<()>();
        let (bound, is_bound) = threads::channel();
        std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port.number)).unwrap();
            bound.send(()).unwrap();
            let _released = wait.recv();
            drop(socket);
        });
        is_bound.recv().unwrap();
        Self { _release: release }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_in_another_network_namespace_does_not_count_and_is_named() {
    let address = own_address();
    let socket = UdpSocket::bind(any(address)).unwrap();
    let port = udp_port(&socket);
    let mut watch = Watch::of(&[address], &[port]);
    watch.pass().await;
    let elsewhere = Elsewhere::bind(port);
    watch.stays_silent(SOON).await;
    drop(socket);
    let report = watch.fail().await;
    let words = report.outcome.detail();
    assert!(
        words.contains(&format!("bound {port} in another network namespace")),
        "{words}"
    );
    drop(elsewhere);
    watch.stays_silent(SOON).await;
}

/// A cgroup below the root; removed when dropped, once nobody is in it.
struct Group(PathBuf);

impl Group {
    fn make(name: &str) -> Self {
        // A mount may be hidden below another one.
        let root = std::fs::read_to_string("/proc/mounts")
            .unwrap()
            .lines()
            .filter_map(|line| {
                let fields: Vec<&str> = line.split(' ').collect();
                (fields[2] == "cgroup2").then(|| PathBuf::from(fields[1]))
            })
            .find(|path| path.join("cgroup.procs").exists())
            .expect("a cgroup v2 hierarchy");
        let path = root.join(format!("listener-{}-{name}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Group {
    /// Waits until the last process in it is gone: the kernel then marks its events file.
    fn wait_until_empty(&self) -> std::io::Result<()> {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        let path = self.0.join("cgroup.events");
        let events = std::fs::File::open(&path)?;
        let deadline = Instant::now() + PATIENCE;
        while !std::fs::read_to_string(&path)?.contains("populated 0") && Instant::now() < deadline
        {
            let mut waited = [PollFd::new(events.as_fd(), PollFlags::POLLPRI)];
            poll(&mut waited, PollTimeout::from(100_u8))?;
        }
        Ok(())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _emptied = self.wait_until_empty();
        let _removed = std::fs::remove_dir(&self.0);
    }
}

/// Set in the process that serves: where it listens.
const ENDPOINT: &str = "ANYCAST_TEST_LISTENER_ENDPOINT";

/// A process in a cgroup that listens, closes its socket when it is told to, and lives on: an exit would be
/// heard of any group. Killed when dropped.
struct Server(Child);

impl Server {
    fn start(endpoint: SocketAddr, group: &Group) -> Self {
        let program = std::env::current_exe().unwrap();
        let child = Command::new("sh")
            .args(["-c", r#"echo $$ > "$1" && shift && exec "$@""#, "sh"])
            .arg(group.0.join("cgroup.procs"))
            .arg(program)
            .args(["--exact", "namespaces::a_server_listens_until_it_is_told"])
            .env(ENDPOINT, endpoint.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn close(&mut self) {
        use std::io::Write as _;
        let mut to = self.0.stdin.as_ref().unwrap();
        to.write_all(b"close\n").unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// The process that [`Server`] starts; without it, there is nothing to do.
#[test]
fn a_server_listens_until_it_is_told() {
    let Ok(endpoint) = std::env::var(ENDPOINT) else {
        return;
    };
    let listener = TcpListener::bind(endpoint).unwrap();
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    drop(listener);
    std::io::stdin().read_line(&mut line).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_in_a_cgroup_below_is_heard_by_the_root_and_by_its_own_and_found_by_another() {
    let (own, other) = (Group::make("own"), Group::make("other"));
    let address = own_address();
    let number = tcp_port(&TcpListener::bind(any(address)).unwrap()).number;
    for (name, cgroup, heard) in [
        ("the root", None, true),
        ("its own", Some(&own), true),
        ("another", Some(&other), false),
    ] {
        let mut settings = settings(&[address], &[Port::tcp(number)]);
        settings.cgroup = cgroup.map(|group| group.0.clone());
        let mut watch = Watch::start(settings);
        watch.fail().await;
        let mut server = Server::start(SocketAddr::new(address, number), &own);
        watch.pass().await;
        server.close();
        let report = watch.fail().await;
        // Only the release itself tells who closed it: a reading finds the socket gone, and no name.
        let named = report.outcome.detail().contains("released the last one");
        assert_eq!(named, heard, "{name}: {report:?}");
    }
}
