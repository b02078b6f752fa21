//! `build-and-run`: the lab, live on a terminal, as a scenario elsewhere.

mod board;
mod keys;
mod view;

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anycast_tests::interrupt;
use anycast_tests::lab::{Lab, scenario};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};

use self::board::Board;
use self::keys::{Action, Hand};

/// How often the view is drawn anew.
const FRAME: Duration = Duration::from_millis(100);

/// How to run the lab.
#[derive(Clone, Debug)]
pub(crate) struct LabArgs {
    /// Run the scenario once, also on a terminal.
    pub(crate) once: bool,
    /// The built `anycast` binary.
    pub(crate) anycast: PathBuf,
}

/// Runs the lab: the live view on a terminal, the scenario elsewhere or when asked for it.
///
/// # Errors
/// When the lab cannot be started, or a step of the scenario does not hold.
pub(crate) fn run(args: &LabArgs) -> anyhow::Result<()> {
    interrupt::install()?;
    if args.once || !io::stdout().is_terminal() {
        return scenario::run(&args.anycast, &mut io::stdout());
    }
    println!("Starting four routers, two nodes and a client …");
    let mut lab = Lab::start(&args.anycast)?;
    let board = Board::default();
    let mut terminal = ratatui::init();
    let ended = thread::scope(|scope| {
        let _stop = board.watch(scope, &lab);
        live(&mut terminal, &mut lab, &board)
    });
    ratatui::restore();
    println!("Taking the lab down …");
    drop(lab);
    ended
}

fn live(terminal: &mut DefaultTerminal, lab: &mut Lab, board: &Board) -> anyhow::Result<()> {
    let mut hand = Hand::default();
    while !interrupt::requested() {
        hand.notice_ends(lab);
        terminal.draw(|frame| view::draw(frame, lab, board, &hand))?;
        if !event::poll(FRAME)? {
            continue;
        }
        let Event::Key(key) = event::read()? else {
            continue;
        };
        match Action::of(key) {
            Some(Action::Quit) => return Ok(()),
            Some(action) => hand.act(action, lab),
            None => {}
        }
    }
    Ok(())
}
