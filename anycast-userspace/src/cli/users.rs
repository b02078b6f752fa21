//! The users that commands are to run as, looked up on this host. It is not the daemon's to ask: name services may
//! hang, and a user may come later.

use nix::unistd::User;

use crate::config::{Check, Config, Service};

/// Those that this host does not know: pairs of a field's path and what there is to say.
pub(super) fn unknown(config: &Config) -> Vec<(String, String)> {
    config
        .services
        .iter()
        .enumerate()
        .flat_map(|(index, service)| of_service(index, service))
        .filter(|(_, user)| matches!(User::from_name(user), Ok(None)))
        .map(|(field, user)| {
            let message = format!(
                "warning: this host has no user `{user}`: where that is so, the command is not started"
            );
            (field, message)
        })
        .collect()
}

fn of_service(index: usize, service: &Service) -> impl Iterator<Item = (String, &str)> {
    let of_checks = service.checks.iter().map(user_of).enumerate();
    let of_hooks = service.hooks.iter().map(|hook| hook.user.as_deref());
    let of_checks = of_checks.map(|(at, user)| ("checks", at, user));
    let of_hooks = of_hooks.enumerate().map(|(at, user)| ("hooks", at, user));
    of_checks
        .chain(of_hooks)
        .filter_map(move |(list, at, user)| {
            Some((format!("services[{index}].{list}[{at}].user"), user?))
        })
}

fn user_of(check: &Check) -> Option<&str> {
    match check {
        Check::Exec(check) => check.user.as_deref(),
        Check::Tcp(_)
        | Check::Http(_)
        | Check::Grpc(_)
        | Check::Dns(_)
        | Check::File(_)
        | Check::Listener(_)
        | Check::Address(_)
        | Check::Icmp(_)
        | Check::Ntp(_) => None,
    }
}
