//! The data plane writer: brings the maps to the modes that the controller publishes, and reports.
//!
//! One task owns the data plane. A decision costs one map write for each service that it changes.
//! It decides nothing; a write that fails is reported, and tried again after a pause or with the next
//! decision, whichever is first.

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use crate::decision::DataPlaneMode;
use crate::links::{Link, Links};
use crate::planes::{Counters, CountersRequest, MapReport, Modes};

/// Pause before failed writes are tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The effect: a loaded data plane. Services are named by their index in the configuration.
pub trait Plane: Send {
    /// Writes a service's mode: one map write.
    fn set_mode(&mut self, service: usize, mode: DataPlaneMode) -> Result<(), String>;

    /// Runs the loaded program on a synthetic packet to the service; an error says what it did instead of
    /// serving.
    fn prove(&mut self, service: usize) -> Result<(), String>;

    /// Reads the counters.
    fn counters(&mut self) -> Result<Counters, String>;

    /// Keeps what is attached in step with the host's devices.
    fn follow(&mut self, links: &[Link]);
}

/// Runs until the controller's end of `modes` is gone; gives the data plane back.
pub async fn run<P: Plane>(
    mut plane: P,
    mut modes: watch::Receiver<Modes>,
    mut links: watch::Receiver<Links>,
    reports: mpsc::Sender<MapReport>,
    mut requests: mpsc::Receiver<CountersRequest>,
) -> P {
    let mut installed: Vec<Option<DataPlaneMode>> = Vec::new();
    let mut retry_at: Option<tokio::time::Instant> = None;
    links.mark_changed();
    loop {
        tokio::select! {
            biased;
            changed = modes.changed() => {
                if changed.is_err() {
                    return plane;
                }
            }
            () = until(retry_at) => {}
            Ok(()) = links.changed() => {
                let found = links.borrow_and_update().clone();
                plane.follow(&found);
                continue;
            }
            Some(request) = requests.recv() => {
                let counters = plane.counters().unwrap_or_else(|error| {
                    tracing::warn!(%error, "counters");
                    Counters::default()
                });
                // Who asked may have gone meanwhile.
                let _gone = request.reply.send(counters);
                continue;
            }
        }
        let wanted = modes.borrow_and_update().clone();
        let report = apply(&mut plane, &mut installed, &wanted);
        retry_at = (!report.failures.is_empty()).then(|| tokio::time::Instant::now() + RETRY);
        if reports.send(report).await.is_err() {
            return plane;
        }
    }
}

async fn until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Writes what differs. What is to be proved is written in any case: the kernel may have taken it down by
/// itself since.
fn apply<P: Plane>(
    plane: &mut P,
    installed: &mut Vec<Option<DataPlaneMode>>,
    wanted: &Modes,
) -> MapReport {
    installed.resize(wanted.modes.len(), None);
    let mut writes = 0;
    let mut failures = Vec::new();
    for (service, (&mode, installed)) in wanted.modes.iter().zip(installed).enumerate() {
        if *installed == Some(mode) && wanted.prove.binary_search(&service).is_err() {
            continue;
        }
        match plane.set_mode(service, mode) {
            Ok(()) => {
                writes += 1;
                *installed = Some(mode);
            }
            Err(why) => {
                *installed = None;
                failures.push((service, why));
            }
        }
    }
    let at = Instant::now();
    let proofs = wanted
        .prove
        .iter()
        .filter(|service| failures.iter().all(|(failed, _)| failed != *service))
        .map(|&service| (service, plane.prove(service)))
        .collect();
    MapReport {
        generation: wanted.generation,
        writes,
        at,
        proofs,
        failures,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[derive(Default)]
    struct Recorded {
        log: Vec<String>,
        refuse: Option<usize>,
    }

    impl Plane for Recorded {
        fn set_mode(&mut self, service: usize, mode: DataPlaneMode) -> Result<(), String> {
            self.log.push(format!("{service} {mode:?}"));
            if self.refuse == Some(service) {
                return Err("map full".to_owned());
            }
            Ok(())
        }

        fn prove(&mut self, service: usize) -> Result<(), String> {
            self.log.push(format!("prove {service}"));
            Ok(())
        }

        fn counters(&mut self) -> Result<Counters, String> {
            Ok(Counters::default())
        }

        fn follow(&mut self, links: &[Link]) {
            self.log.push(format!("follow {}", links.len()));
        }
    }

    fn modes(generation: u64, modes: &[DataPlaneMode], prove: &[usize]) -> Modes {
        Modes {
            generation,
            decided_at: Instant::now(),
            modes: modes.into(),
            prove: Arc::from(prove),
        }
    }

    #[test]
    fn a_decision_writes_only_what_it_changes_and_proves_after_the_writes() {
        use DataPlaneMode::{Down, Init, Up};
        let mut plane = Recorded::default();
        let mut installed = Vec::new();
        apply(&mut plane, &mut installed, &modes(1, &[Init, Init], &[]));
        assert_eq!(plane.log, ["0 Init", "1 Init"]);
        plane.log.clear();
        let report = apply(&mut plane, &mut installed, &modes(2, &[Up, Init], &[0]));
        assert_eq!(plane.log, ["0 Up", "prove 0"]);
        assert_eq!((report.writes, report.proofs.len()), (1, 1));
        plane.log.clear();
        apply(&mut plane, &mut installed, &modes(3, &[Up, Down], &[]));
        assert_eq!(plane.log, ["1 Down"]);
    }

    #[test]
    fn what_is_to_be_proved_is_written_even_if_the_kernel_took_it_down_meanwhile() {
        let mut plane = Recorded::default();
        let mut installed = vec![Some(DataPlaneMode::Up)];
        let report = apply(
            &mut plane,
            &mut installed,
            &modes(9, &[DataPlaneMode::Up], &[0]),
        );
        assert_eq!((report.writes, report.proofs), (1, vec![(0, Ok(()))]));
        assert_eq!(plane.log, ["0 Up", "prove 0"]);
    }

    #[tokio::test]
    async fn the_host_s_devices_are_followed_from_the_start_and_at_each_change() {
        let (modes, modes_seen) = watch::channel(modes(0, &[], &[]));
        let (links, links_seen) = watch::channel(Links::from([Link::default()]));
        let (_requests, requests) = mpsc::channel(1);
        let plane = Recorded::default();
        let running = tokio::spawn(run(
            plane,
            modes_seen,
            links_seen,
            mpsc::channel(1).0,
            requests,
        ));
        tokio::task::yield_now().await;
        links.send_replace(Links::default());
        tokio::task::yield_now().await;
        // That nobody tells of devices any more does not end it.
        drop(links);
        tokio::task::yield_now().await;
        drop(modes);
        assert_eq!(running.await.unwrap().log, ["follow 1", "follow 0"]);
    }

    #[test]
    fn a_failed_write_is_reported_not_proved_and_tried_again() {
        let mut plane = Recorded {
            refuse: Some(0),
            ..Recorded::default()
        };
        let mut installed = Vec::new();
        let wanted = modes(1, &[DataPlaneMode::Up], &[0]);
        let report = apply(&mut plane, &mut installed, &wanted);
        assert_eq!(report.failures, [(0, "map full".to_owned())]);
        assert!(report.proofs.is_empty());
        plane.refuse = None;
        let report = apply(&mut plane, &mut installed, &wanted);
        assert_eq!((report.writes, report.proofs), (1, vec![(0, Ok(()))]));
    }
}
