//! The keys that break things, and mend them again.

use anycast_tests::lab::Lab;
use anycast_tests::lab::node::SERVICE;
use anycast_tests::lab::topology::City;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use serde_json::Value;

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Quit,
    OtherCity,
    KillDns,
    HangDns,
    CutLink,
    Drain,
    KillController,
    StopController,
}

impl Action {
    /// All, with their keys, in the order of the help line.
    pub(super) const KEYS: [(&'static str, Self); 8] = [
        ("Tab", Self::OtherCity),
        ("k", Self::KillDns),
        ("h", Self::HangDns),
        ("l", Self::CutLink),
        ("d", Self::Drain),
        ("s", Self::StopController),
        ("c", Self::KillController),
        ("q", Self::Quit),
    ];

    /// What this key asks for.
    pub(super) fn of(key: KeyEvent) -> Option<Self> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Some(Self::Quit);
        }
        let name = match key.code {
            KeyCode::Tab => "Tab".to_owned(),
            KeyCode::Esc => "q".to_owned(),
            KeyCode::Char(char) => char.to_string(),
            _ => return None,
        };
        Self::KEYS
            .into_iter()
            .find(|(key, _)| *key == name)
            .map(|(_, action)| action)
    }
}

/// The user's hand: the city that it is on, and what it did last.
#[derive(Debug)]
pub(super) struct Hand {
    pub(super) city: City,
    pub(super) said: String,
    cut: [bool; 2],
}

impl Default for Hand {
    fn default() -> Self {
        Self {
            city: City::A,
            said: String::new(),
            cut: [false; 2],
        }
    }
}

impl Hand {
    /// Whether the link to a city's node is cut.
    pub(super) fn has_cut(&self, city: City) -> bool {
        self.cut[city as usize]
    }

    /// Does it, and says so.
    pub(super) fn act(&mut self, action: Action, lab: &mut Lab) {
        self.said = match self.attempt(action, lab) {
            Ok(said) => said,
            Err(error) => format!("{error:#}"),
        };
    }

    /// Says so when a controller has ended that was asked to.
    pub(super) fn notice_ends(&mut self, lab: &mut Lab) {
        for city in City::ALL {
            match lab.node_mut(city).0.controller_ended() {
                Ok(None) => {}
                Ok(Some(status)) => self.said = format!("{city}: anycast has ended: {status}"),
                Err(error) => self.said = format!("{error:#}"),
            }
        }
    }

    /// What the key would do now, for the help line. `status` is what the city's controller says of itself.
    pub(super) fn label(&self, action: Action, lab: &Lab, status: Option<&Value>) -> &'static str {
        let node = lab.node(self.city);
        let choose = |broken: bool, mend: &'static str, break_it: &'static str| {
            if broken { mend } else { break_it }
        };
        match action {
            Action::Quit => "quit",
            Action::OtherCity => "the other city",
            Action::KillDns => choose(!node.dns_runs(), "start NSD", "kill NSD"),
            Action::HangDns => choose(node.dns_hangs(), "let NSD go on", "hang NSD"),
            Action::CutLink => choose(self.has_cut(self.city), "mend the link", "cut the link"),
            Action::Drain => choose(status.is_some_and(is_drained), "undrain", "drain"),
            Action::KillController => {
                choose(!node.controller_runs(), "start anycast", "kill -9 anycast")
            }
            Action::StopController => {
                choose(!node.controller_runs(), "start anycast", "stop anycast")
            }
        }
    }

    fn attempt(&mut self, action: Action, lab: &mut Lab) -> anyhow::Result<String> {
        let city = self.city;
        // What the view has heard may be half a second old.
        let status = (action == Action::Drain).then(|| lab.node(city).control().status());
        let status = status.transpose()?;
        let did = format!("{city}: {}", self.label(action, lab, status.as_ref()));
        match action {
            Action::Quit => {}
            Action::OtherCity => {
                self.city = city.other();
                return Ok(String::new());
            }
            Action::KillDns => {
                let (node, namespace) = lab.node_mut(city);
                if node.dns_runs() {
                    node.kill_dns()?;
                } else {
                    node.start_dns(namespace)?;
                }
            }
            Action::HangDns => {
                let hang = !lab.node(city).dns_hangs();
                lab.node_mut(city).0.hang_dns(hang)?;
            }
            Action::CutLink => {
                let cut = !self.has_cut(city);
                if cut {
                    lab.topology().cut_node(city)?;
                } else {
                    lab.topology().restore_node(city)?;
                }
                self.cut[city as usize] = cut;
            }
            Action::Drain => {
                let drained = status.as_ref().is_some_and(is_drained);
                let command = if drained { "undrain" } else { "drain" };
                lab.node(city).control().run(&[command, SERVICE])?;
            }
            Action::KillController | Action::StopController => {
                let (node, namespace) = lab.node_mut(city);
                if !node.controller_runs() {
                    node.start_controller(namespace)?;
                } else if action == Action::KillController {
                    node.kill_controller()?;
                } else {
                    node.ask_controller_to_stop()?;
                    return Ok(format!("{did}: asked; again, and it withdraws at once"));
                }
            }
        }
        Ok(did)
    }
}

/// Whether the lab's service has been drained by command: that outlives the controller.
fn is_drained(status: &Value) -> bool {
    let list = |list: &Value| list.as_array().cloned().unwrap_or_default();
    list(&status["services"])
        .iter()
        .filter(|service| service["name"] == SERVICE)
        .flat_map(|service| list(&service["words"]))
        .any(|word| word["word"] == "drained" && word["source"] == "command")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_drain_key_goes_by_the_words_that_the_controller_knows_of() {
        let drained = json!({ "word": "drained", "source": "command", "reason": "" });
        let cases = [
            (json!({}), false),
            (
                json!({ "services": [{ "name": SERVICE, "state": "draining" }] }),
                false,
            ),
            (
                json!({ "services": [{ "name": SERVICE, "words": [] }] }),
                false,
            ),
            (
                json!({ "services": [{ "name": SERVICE, "words": [drained] }] }),
                true,
            ),
            (
                json!({ "services": [{ "name": "other", "words": [drained] }] }),
                false,
            ),
            (
                json!({ "services": [{ "name": SERVICE, "words": [
                    { "word": "disabled", "source": "command" },
                    { "word": "drained", "source": "maintenance_file" },
                ] }] }),
                false,
            ),
        ];
        for (status, want) in cases {
            assert_eq!(is_drained(&status), want, "{status}");
        }
    }

    #[test]
    fn each_key_of_the_help_line_does_what_it_says() {
        for (name, action) in Action::KEYS {
            let code = match name.chars().next() {
                Some(char) if name.len() == 1 => KeyCode::Char(char),
                _ => KeyCode::Tab,
            };
            let key = KeyEvent::new(code, KeyModifiers::NONE);
            assert_eq!(Action::of(key), Some(action), "{name}");
        }
    }

    #[test]
    fn ctrl_c_quits_and_an_unknown_key_does_nothing() {
        for (code, modifiers, want) in [
            (
                KeyCode::Char('c'),
                KeyModifiers::CONTROL,
                Some(Action::Quit),
            ),
            (KeyCode::Esc, KeyModifiers::NONE, Some(Action::Quit)),
            (KeyCode::Char('x'), KeyModifiers::NONE, None),
            (KeyCode::Enter, KeyModifiers::NONE, None),
        ] {
            assert_eq!(Action::of(KeyEvent::new(code, modifiers)), want, "{code:?}");
        }
    }
}
