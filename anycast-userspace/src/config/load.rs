//! Reading the file: syntax, shape, each field's rule, and the rules between fields; every fault with
//! its place.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::hash::Hash;
use std::path::Path;

use garde::Validate as _;
use ipnet::IpNet;

use super::locate::{Places, place};
use super::{Announcer, Check, Config, ConfigError, Listen, Problem, Service, shape};

impl Config {
    /// Reads and validates a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_with(path, |_| Vec::new())
    }

    /// Reads and validates a file, by rules of the caller's as well: asked of a file that is good by all
    /// others, they give pairs of a field's path and a message.
    pub fn load_with(
        path: &Path,
        further: impl FnOnce(&Self) -> Vec<(String, String)>,
    ) -> Result<Self, ConfigError> {
        let bytes = fs::read(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        text_of(&bytes)
            .map_err(|problem| vec![problem])
            .and_then(|text| Self::parse_with(text, further))
            .map_err(|problems| ConfigError::Invalid {
                path: path.to_owned(),
                problems,
            })
    }

    /// Parses and validates a text. What is wrong comes in the order of the text.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        Self::parse_with(text, |_| Vec::new())
    }

    fn parse_with(
        text: &str,
        further: impl FnOnce(&Self) -> Vec<(String, String)>,
    ) -> Result<Self, Vec<Problem>> {
        let places = Places::parse(text).map_err(|error| vec![syntax_problem(text, &error)])?;
        let config: Self =
            toml::from_str(text).map_err(|error| vec![shape::problem(&places, &error)])?;
        let at = |path: String, message: String| Problem {
            place: places.of_path(&path),
            field: places.as_written(&path),
            message,
        };
        let mut problems: Vec<Problem> = match config.validate() {
            Ok(()) => Vec::new(),
            Err(report) => report
                .iter()
                .map(|(path, error)| at(path.to_string(), error.to_string()))
                .collect(),
        };
        problems.extend(
            between_fields(&config)
                .into_iter()
                .map(|(field, message)| at(field, message)),
        );
        if problems.is_empty() {
            let found = further(&config).into_iter();
            problems.extend(found.map(|(field, message)| at(field, message)));
        }
        if problems.is_empty() {
            return Ok(config);
        }
        problems.sort_by_key(|problem| (problem.place.line, problem.place.column));
        Err(problems)
    }
}

fn text_of(bytes: &[u8]) -> Result<&str, Problem> {
    str::from_utf8(bytes).map_err(|error| {
        let (good, rest) = bytes.split_at(error.valid_up_to());
        Problem {
            place: place(&String::from_utf8_lossy(good), good.len()),
            field: String::new(),
            message: format!("is not UTF-8 from the byte {:#04x} on", rest[0]),
        }
    })
}

fn syntax_problem(text: &str, error: &toml::de::Error) -> Problem {
    Problem {
        place: place(text, error.span().map_or(0, |span| span.start)),
        field: String::new(),
        message: error.message().to_owned(),
    }
}

/// The rules that no single field can break: pairs of a field's path and a message.
fn between_fields(config: &Config) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    unique(
        config
            .services
            .iter()
            .enumerate()
            .map(|(index, service)| (format!("services[{index}].name"), service.name.clone())),
        "name",
        &mut problems,
    );
    unique(
        each_service(config, |service| service.addresses.iter().copied()).map(
            |(service, at, address)| (format!("services[{service}].addresses[{at}]"), address),
        ),
        "address",
        &mut problems,
    );
    unique(
        each_service(config, |service| service.prefixes.iter().map(IpNet::trunc))
            .map(|(service, at, prefix)| (format!("services[{service}].prefixes[{at}]"), prefix)),
        "prefix",
        &mut problems,
    );
    problems.extend(services_of_peers(config));
    problems.extend(super::needs::problems(&config.services));
    problems.extend(super::own_addresses::problems(config));
    problems.extend(two_on_one_socket(config));
    let bgp = config.bgp.iter().flat_map(super::Bgp::problems);
    problems.extend(bgp.map(|(field, message)| (format!("bgp.{field}"), message)));
    for (index, service) in config.services.iter().enumerate() {
        let path = format!("services[{index}]");
        within_service(config, service, &path, &mut problems);
    }
    problems
}

fn two_on_one_socket(config: &Config) -> Option<(String, String)> {
    let metrics = config.metrics.as_ref()?;
    let shared = match &metrics.listen {
        Listen::Address(_) => false,
        Listen::Path(path) => *path == config.control.socket,
    };
    shared.then(|| {
        let message = format!("{} is the control socket", metrics.listen);
        ("metrics.listen".to_owned(), message)
    })
}

/// The services that peers are limited to must be there.
fn services_of_peers(config: &Config) -> Vec<(String, String)> {
    let known: HashSet<&str> = config
        .services
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    let mut problems = Vec::new();
    for (index, peer) in config.bgp.iter().flat_map(|bgp| &bgp.peers).enumerate() {
        for (at, name) in peer.services.iter().flatten().enumerate() {
            if !known.contains(name.as_str()) {
                problems.push((
                    format!("bgp.peers[{index}].services[{at}]"),
                    format!("no service is named `{name}`"),
                ));
            }
        }
    }
    problems
}

fn within_service(
    config: &Config,
    service: &Service,
    path: &str,
    problems: &mut Vec<(String, String)>,
) {
    unique(
        service
            .checks
            .iter()
            .enumerate()
            .map(|(at, check)| (format!("{path}.checks[{at}].name"), check.name().to_owned())),
        "check name",
        problems,
    );
    unique(
        service
            .protocols
            .iter()
            .enumerate()
            .map(|(at, protocol)| (format!("{path}.protocols[{at}]"), *protocol)),
        "protocol",
        problems,
    );
    for (at, check) in service.checks.iter().enumerate() {
        if let Check::Listener(listener) = check
            && let Err(message) = listener.watched(&service.ports)
        {
            problems.push((format!("{path}.checks[{at}].ports"), message));
        }
    }
    if let Err(message) = service.require.is_met_by(&service.checks) {
        problems.push((format!("{path}.require"), message));
    }
    if service.announce.contains(&Announcer::Bgp) && config.bgp.is_none() {
        problems.push((
            format!("{path}.announce"),
            "announces over BGP, but there is no [bgp] section; write one, or `announce = []`"
                .to_owned(),
        ));
    }
    let known: HashSet<&str> = config
        .bgp
        .iter()
        .flat_map(|bgp| bgp.peers.iter().map(|peer| peer.name.as_str()))
        .collect();
    for (at, name) in service.peers.iter().flatten().enumerate() {
        if !known.contains(name.as_str()) {
            problems.push((
                format!("{path}.peers[{at}]"),
                format!("no peer in [bgp] is named `{name}`"),
            ));
        }
    }
}

fn each_service<'config, T, I: Iterator<Item = T>>(
    config: &'config Config,
    values: impl Fn(&'config Service) -> I,
) -> impl Iterator<Item = (usize, usize, T)> {
    config
        .services
        .iter()
        .enumerate()
        .flat_map(move |(index, service)| {
            values(service)
                .enumerate()
                .map(move |(at, value)| (index, at, value))
                .collect::<Vec<_>>()
        })
}

fn unique<T: Eq + Hash + std::fmt::Display>(
    values: impl Iterator<Item = (String, T)>,
    what: &str,
    problems: &mut Vec<(String, String)>,
) {
    let mut seen: HashMap<T, String> = HashMap::new();
    for (path, value) in values {
        match seen.get(&value) {
            Some(first) => problems.push((
                path,
                format!("the {what} `{value}` is taken already, by {first}"),
            )),
            None => {
                seen.insert(value, path);
            }
        }
    }
}
