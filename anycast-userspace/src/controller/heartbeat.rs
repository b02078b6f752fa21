//! A sign of life at a steady pace, given by the controller's own loop: where that stands still, because its
//! thread is blocked, none is given. It decides nothing.

use std::time::{Duration, Instant};

use super::Controller;

/// What is done, how often, and when next.
pub(super) struct Heartbeat {
    every: Duration,
    pub(super) due: Instant,
    beat: Box<dyn FnMut() + Send>,
}

impl Controller {
    /// Has `beat` called every so often while the controller runs. It must not block.
    pub fn beat_every(&mut self, every: Duration, beat: impl FnMut() + Send + 'static) {
        self.heartbeat = Some(Heartbeat {
            every,
            due: Instant::now(),
            beat: Box::new(beat),
        });
    }

    pub(super) fn beat(&mut self) {
        if let Some(heartbeat) = &mut self.heartbeat {
            (heartbeat.beat)();
            heartbeat.due = Instant::now() + heartbeat.every;
        }
    }
}
