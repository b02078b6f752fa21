//! Signs of life come from the loop that decides.

use std::time::{Duration, Instant};

use futures_util::stream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::needs::{controller, report};
use super::rig::PATIENCE;

const EVERY: Duration = Duration::from_millis(20);

#[tokio::test]
async fn signs_of_life_keep_their_pace_while_the_controller_runs_and_end_with_it() {
    let mut controller = controller(&[("dns", &[])]);
    let (beats, mut seen) = mpsc::unbounded_channel();
    let (checks, reports) = mpsc::channel(16);
    controller.channels.checks = reports;
    controller.beat_every(EVERY, move || {
        let _gone = beats.send(Instant::now());
    });
    let (stop, stopped) = oneshot::channel::<String>();
    let running = tokio::spawn(async move {
        let reason = async { stopped.await.unwrap_or_default() };
        controller.run(Box::pin(stream::once(reason))).await;
    });
    // Results without end, as of a thousand checks.
    let busy = tokio::spawn(async move { while checks.send(report(0, true)).await.is_ok() {} });
    let mut last: Option<Instant> = None;
    for _ in 0..5 {
        let beat = timeout(PATIENCE, seen.recv()).await.expect("in time");
        let beat = beat.expect("the controller runs");
        if let Some(last) = last {
            assert!(beat - last >= EVERY, "{:?} apart", beat - last);
        }
        last = Some(beat);
    }
    stop.send("SIGTERM".to_owned()).expect("it runs");
    timeout(PATIENCE, running)
        .await
        .expect("in time")
        .expect("no panic");
    busy.await.expect("no panic");
    while seen.recv().await.is_some() {}
}
