//! What a report says to a person. Pure.

use std::collections::{BTreeSet, HashMap};

use super::super::Process;
use super::super::plan::{Plan, Port};

/// How many missing endpoints are named.
const NAMED: usize = 3;

/// Why a check fails.
pub(super) fn failure(
    plan: &Plan,
    releasers: &HashMap<Port, Process>,
    foreign: &HashMap<Port, Process>,
) -> String {
    if plan.unserved.is_empty() {
        return "the last socket was released; another serves by now".to_owned();
    }
    let named: Vec<String> = plan
        .unserved
        .iter()
        .take(NAMED)
        .map(|(port, address)| format!("{port} on {address}"))
        .collect();
    let mut words = format!("no socket serves {}", named.join(", "));
    if plan.unserved.len() > NAMED {
        words += &format!(" and {} more", plan.unserved.len() - NAMED);
    }
    let ports: BTreeSet<Port> = plan.unserved.iter().map(|(port, _)| *port).collect();
    if let Some(process) = ports.iter().find_map(|port| releasers.get(port)) {
        words += &format!("; {process} released the last one");
    }
    if let Some((port, process)) = ports
        .iter()
        .find_map(|port| foreign.get(port).map(|process| (port, process)))
    {
        words += &format!("; {process} bound {port} in another network namespace");
    }
    words
}

/// Why a check passes.
pub(super) fn success(plan: &Plan) -> String {
    let cookies: BTreeSet<u64> = plan
        .sets
        .iter()
        .flat_map(|set| set.cookies.iter().copied())
        .collect();
    let sockets = match cookies.len() {
        1 => "1 socket".to_owned(),
        count => format!("{count} sockets"),
    };
    let ports: BTreeSet<Port> = plan.sets.iter().map(|set| set.port).collect();
    match ports.len() {
        0 => "nothing to serve".to_owned(),
        1..=NAMED => {
            let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
            format!("{} {sockets}", ports.join(", ") + ":")
        }
        count => format!("{count} ports: {sockets}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::plan::Set;

    fn unserved(endpoints: &[(Port, &str)]) -> Plan {
        Plan {
            sets: BTreeSet::new(),
            unserved: endpoints
                .iter()
                .map(|(port, address)| (*port, address.parse().unwrap()))
                .collect(),
        }
    }

    #[test]
    fn a_failure_names_what_is_missing_and_who_let_go() {
        let port = Port::udp(53);
        let nsd = HashMap::from([(
            port,
            Process {
                id: 7,
                command: "nsd".to_owned(),
            },
        )]);
        let none = HashMap::new();
        let one = unserved(&[(port, "192.0.2.1")]);
        let many = unserved(&[(port, "192.0.2.1"); 5]);
        for (plan, releasers, foreign, want) in [
            (&one, &none, &none, "no socket serves udp/53 on 192.0.2.1"),
            (
                &one,
                &nsd,
                &none,
                "no socket serves udp/53 on 192.0.2.1; nsd (process 7) released the last one",
            ),
            (
                &one,
                &none,
                &nsd,
                "no socket serves udp/53 on 192.0.2.1; nsd (process 7) bound udp/53 in another \
                 network namespace",
            ),
            (
                &many,
                &none,
                &none,
                "no socket serves udp/53 on 192.0.2.1, udp/53 on 192.0.2.1, udp/53 on 192.0.2.1 \
                 and 2 more",
            ),
        ] {
            assert_eq!(failure(plan, releasers, foreign), want);
        }
    }

    #[test]
    fn a_pass_counts_the_sockets() {
        let set = |port, cookies: &[u64]| Set {
            port,
            cookies: cookies.iter().copied().collect(),
        };
        let plan = Plan {
            sets: BTreeSet::from([set(Port::tcp(53), &[1]), set(Port::udp(53), &[2, 3])]),
            unserved: vec![],
        };
        assert_eq!(success(&plan), "tcp/53, udp/53: 3 sockets");
    }
}
