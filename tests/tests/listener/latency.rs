//! How long it takes from close() and from SIGKILL to the data plane and to the controller.

use super::nsd::Nsd;
use super::*;

const RUNS: usize = 20;
/// Bound on the median from the end of the service to the state in the data plane's map. It takes some ten microseconds;
/// what is measured is told, and this is far above it.
const MAP_BOUND: Duration = Duration::from_millis(1);

#[derive(Default)]
struct Times {
    down: Vec<Duration>,
    released: Vec<Duration>,
    reported: Vec<Duration>,
}

impl Times {
    fn add(&mut self, start: Instant, report: &Report) {
        self.reported.push(start.elapsed());
        self.released
            .push(report.at.saturating_duration_since(start));
        let down = report.dataplane_down.expect("down in the data plane");
        self.down.push(down.saturating_duration_since(start));
    }

    fn print(&mut self, what: &str) -> Duration {
        let median = |times: &mut Vec<Duration>| {
            times.sort();
            times[times.len() / 2]
        };
        let (released, down) = (median(&mut self.released), median(&mut self.down));
        let reported = median(&mut self.reported);
        println!(
            "{what}, median of {RUNS}: released after {released:?}, data plane down after {down:?} \
             (most {:?}), reported after {reported:?}",
            self.down[self.down.len() - 1]
        );
        down
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_close_to_the_data_plane_is_a_matter_of_microseconds() {
    for udp in [true, false] {
        let address = own_address();
        let mut services = Services::pinned(if udp { "close-udp" } else { "close-tcp" });
        let number = udp_port(&UdpSocket::bind(any(address)).unwrap()).number;
        let port = if udp {
            Port::udp(number)
        } else {
            Port::tcp(number)
        };
        let mut watch = Watch::start(services.settings(&[address], &[port]));
        watch.fail().await;
        let mut times = Times::default();
        for _run in 0..RUNS {
            let socket: OwnedFd = if udp {
                UdpSocket::bind((address, number)).unwrap().into()
            } else {
                TcpListener::bind((address, number)).unwrap().into()
            };
            watch.pass().await;
            services.set(UP);
            let start = Instant::now();
            drop(socket);
            times.add(start, &watch.fail().await);
        }
        let down = times.print(if udp {
            "close() of UDP"
        } else {
            "close() of TCP"
        });
        assert!(down < MAP_BOUND, "{down:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_name_server_is_out_of_the_data_plane_before_its_death_is_told() {
    let address = own_address();
    let number = udp_port(&UdpSocket::bind(any(address)).unwrap()).number;
    let mut services = Services::pinned("nsd");
    let ports = [Port::udp(number), Port::tcp(number)];
    let mut watch = Watch::start(services.settings(&[address], &ports));
    watch.fail().await;
    let mut times = Times::default();
    for _run in 0..RUNS {
        let mut nsd = Nsd::start(address, number);
        watch.pass().await;
        services.set(UP);
        let start = Instant::now();
        nsd.kill();
        let report = watch.fail().await;
        assert_eq!(services.state(), DOWN);
        times.add(start, &report);
    }
    let down = times.print("SIGKILL of NSD");
    assert!(down < MAP_BOUND, "{down:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_is_out_of_the_data_plane_before_it_exits() {
    let address = own_address();
    let mut services = Services::pinned("kill");
    let number = udp_port(&UdpSocket::bind(any(address)).unwrap()).number;
    let mut watch = Watch::start(services.settings(&[address], &[Port::udp(number)]));
    watch.fail().await;
    let mut times = Times::default();
    for _run in 0..RUNS {
        let mut holder = Holder::of(UdpSocket::bind((address, number)).unwrap());
        watch.pass().await;
        services.set(UP);
        let start = Instant::now();
        holder.kill();
        times.add(start, &watch.fail().await);
    }
    let down = times.print("SIGKILL of a process");
    assert!(down < MAP_BOUND, "{down:?}");
}
