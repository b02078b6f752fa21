//! Whose addresses are whose: what is left of a prefix without the places inside it that are other peers'.
//! Pure.
//!
//! The kernel demands a prefix's key of every address in it, and an address cannot be taken out again. So a key
//! is given for the parts of the prefix around those addresses.

use ipnet::IpNet;

/// The largest prefixes that together hold all of `prefix` but `holes`, in ascending order.
pub(super) fn without(prefix: IpNet, holes: &[IpNet]) -> Vec<IpNet> {
    let inside: Vec<IpNet> = holes
        .iter()
        .copied()
        .filter(|hole| prefix.contains(hole) || hole.contains(&prefix))
        .collect();
    if inside.is_empty() {
        return vec![prefix];
    }
    if inside.iter().any(|hole| hole.contains(&prefix)) {
        return Vec::new();
    }
    // A hole is inside, so that the prefix is longer than one address.
    prefix
        .subnets(prefix.prefix_len() + 1)
        .into_iter()
        .flatten()
        .flat_map(|half| without(half, &inside))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn what_is_left_is_everything_but_the_holes_in_as_few_prefixes_as_can_be() {
        type Case<'a> = (&'a str, &'a [&'a str], &'a [&'a str]);
        let cases: [Case<'_>; 8] = [
            ("10.0.0.0/24", &[], &["10.0.0.0/24"]),
            (
                "10.0.0.0/24",
                &["10.0.1.1/32", "fd00::1/128"],
                &["10.0.0.0/24"],
            ),
            (
                "10.0.0.0/30",
                &["10.0.0.1/32"],
                &["10.0.0.0/32", "10.0.0.2/31"],
            ),
            (
                "10.0.0.0/29",
                &["10.0.0.1/32", "10.0.0.6/32"],
                &["10.0.0.0/32", "10.0.0.2/31", "10.0.0.4/31", "10.0.0.7/32"],
            ),
            ("10.0.0.0/24", &["10.0.0.128/25"], &["10.0.0.0/25"]),
            ("10.0.0.0/31", &["10.0.0.0/32", "10.0.0.1/32"], &[]),
            ("10.0.0.0/24", &["10.0.0.0/24"], &[]),
            (
                "fd00::/126",
                &["fd00::3/128"],
                &["fd00::/127", "fd00::2/128"],
            ),
        ];
        for (prefix, holes, want) in cases {
            let got = without(prefix.parse().unwrap(), &nets(holes));
            assert_eq!(got, nets(want), "{prefix} without {holes:?}");
        }
        let host = nets(&["fd00::1/128"]);
        assert_eq!(without("fd00::/64".parse().unwrap(), &host).len(), 64);
    }
}
