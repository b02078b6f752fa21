//! Services that need other services: the names must exist, and nothing may need itself in the end.

use std::collections::HashMap;

use super::Service;

/// What is wrong with the `needs` of the services: pairs of a field's path and a message.
pub(super) fn problems(services: &[Service]) -> Vec<(String, String)> {
    let index: HashMap<&str, usize> = services
        .iter()
        .map(|service| service.name.as_str())
        .zip(0..)
        .collect();
    let mut problems = Vec::new();
    for (at, service) in services.iter().enumerate() {
        for (position, name) in service.needs.iter().enumerate() {
            let path = format!("services[{at}].needs[{position}]");
            match index.get(name.as_str()) {
                None => problems.push((path, format!("no service is named `{name}`"))),
                Some(needed) => {
                    if let Some(way) = way(services, &index, *needed, at) {
                        let circle: Vec<_> = std::iter::once(at)
                            .chain(way)
                            .map(|index| services[index].name.as_str())
                            .collect();
                        problems.push((
                            path,
                            format!("the service needs itself: {}", circle.join(" needs ")),
                        ));
                    }
                }
            }
        }
    }
    problems
}

/// The services on a way from one to another along `needs`, both included.
fn way(
    services: &[Service],
    index: &HashMap<&str, usize>,
    from: usize,
    to: usize,
) -> Option<Vec<usize>> {
    let mut came_from: HashMap<usize, usize> = HashMap::new();
    let mut open = vec![from];
    while let Some(at) = open.pop() {
        if at == to {
            let back = std::iter::successors(Some(to), |at| came_from.get(at).copied());
            let mut way: Vec<_> = back.collect();
            way.reverse();
            return Some(way);
        }
        for next in services[at]
            .needs
            .iter()
            .filter_map(|name| index.get(name.as_str()))
        {
            if *next != from && !came_from.contains_key(next) {
                came_from.insert(*next, at);
                open.push(*next);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::problems;
    use crate::config::Service;

    fn services(needs: &[(&str, &[&str])]) -> Vec<Service> {
        needs
            .iter()
            .map(|(name, needs)| {
                let toml =
                    format!("name = {name:?}\naddresses = [\"192.0.2.1\"]\nneeds = {needs:?}");
                toml::from_str(&toml).expect("the service parses")
            })
            .collect()
    }

    #[test]
    fn unknown_names_and_circles_are_told_at_the_name_that_makes_them() {
        type Case<'a> = (&'a [(&'a str, &'a [&'a str])], &'a [(&'a str, &'a str)]);
        let cases: &[Case<'_>] = &[
            (&[("a", &[]), ("b", &["a"]), ("c", &["a", "b"])], &[]),
            (
                &[("a", &["b"])],
                &[("services[0].needs[0]", "no service is named `b`")],
            ),
            (
                &[("a", &["a"])],
                &[(
                    "services[0].needs[0]",
                    "the service needs itself: a needs a",
                )],
            ),
            (
                &[("a", &["b"]), ("b", &["c"]), ("c", &["a"]), ("d", &["a"])],
                &[
                    (
                        "services[0].needs[0]",
                        "the service needs itself: a needs b needs c needs a",
                    ),
                    (
                        "services[1].needs[0]",
                        "the service needs itself: b needs c needs a needs b",
                    ),
                    (
                        "services[2].needs[0]",
                        "the service needs itself: c needs a needs b needs c",
                    ),
                ],
            ),
        ];
        for (needs, want) in cases {
            let got = problems(&services(needs));
            let got: Vec<_> = got
                .iter()
                .map(|(path, message)| (path.as_str(), message.as_str()))
                .collect();
            assert_eq!(got, *want, "{needs:?}");
        }
    }
}
