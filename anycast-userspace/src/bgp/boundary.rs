//! The types of `rustbgpd-wire` and `rustbgpd-fsm` stay inside this module: read off the sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What the names of the crates begin with.
const CRATES: &str = "rustbgpd_";

/// All Rust sources below a directory, and their text.
fn sources(directory: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
}

/// The crates and types that a source uses.
fn taken(text: &str) -> BTreeSet<&str> {
    let statements = text.split(';').filter_map(|part| {
        let (_, imported) = part.rsplit_once("use ")?;
        imported.starts_with(CRATES).then_some(imported)
    });
    statements
        .flat_map(words)
        .chain(words(text).filter(|word| word.starts_with(CRATES)))
        .filter(|word| word.starts_with(char::is_uppercase) || word.starts_with(CRATES))
        .collect()
}

/// Everything that a source shows to others: public items up to their bodies, whole public enums and
/// traits, and traits that public types have.
fn shown(text: &str) -> Vec<&str> {
    let starts = text.match_indices('\n').map(|(at, _)| &text[at + 1..]);
    let mut shown = Vec::new();
    for rest in starts {
        let line = rest.trim_start();
        if line.starts_with("pub enum ") || line.starts_with("pub trait ") {
            shown.push(line.split("\n}").next().unwrap());
        } else if line.starts_with("pub ") {
            let end = line.find(['{', ';']).unwrap_or(line.len());
            let field = line.find('\n').unwrap_or(line.len());
            let is_field = line[..field].ends_with(',') && !line[..field].contains("fn ");
            shown.push(&line[..if is_field { field } else { end }]);
        } else if line.starts_with("impl") {
            shown.push(line.split('{').next().unwrap());
        }
    }
    shown
}

/// What a source shows of the crates' names. `types`: the public types of the module.
fn leaks<'a>(text: &'a str, types: &BTreeSet<String>) -> Vec<&'a str> {
    let taken = taken(text);
    let is_leak = |item: &&str| {
        let public = match item.split_once(" for ") {
            Some((_, of)) if item.starts_with("impl") => words(of).any(|word| types.contains(word)),
            _ => item.starts_with("pub "),
        };
        public && words(item).any(|word| taken.contains(word))
    };
    shown(text).into_iter().filter(is_leak).collect()
}

fn public_types(text: &str) -> impl Iterator<Item = String> {
    text.lines().filter_map(|line| {
        let item = line.strip_prefix("pub ")?;
        let item = item
            .strip_prefix("struct ")
            .or_else(|| item.strip_prefix("enum "))?;
        words(item).next().map(str::to_owned)
    })
}

#[test]
fn the_types_of_the_bgp_crates_do_not_leave_the_module() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (inside, outside): (Vec<_>, Vec<_>) = sources(&source)
        .into_iter()
        .partition(|(path, _)| path.starts_with(source.join("bgp")));
    for (path, text) in &outside {
        assert!(!text.contains(CRATES), "{} uses {CRATES}*", path.display());
    }
    let types: BTreeSet<_> = inside
        .iter()
        .flat_map(|(_, text)| public_types(text))
        .collect();
    assert!(types.contains("Speaker"), "{types:?}");
    for (path, text) in &inside {
        let leaks = leaks(text, &types);
        assert!(leaks.is_empty(), "{} shows {leaks:#?}", path.display());
    }
}

#[test]
fn a_leak_is_found_wherever_it_is() {
    let types = BTreeSet::from(["Ours".to_owned()]);
    for leak in [
        "pub struct Ours {\n    pub afi: Afi,\n}",
        "pub struct Ours(pub Afi);",
        "pub enum Ours {\n    Of(Afi),\n}",
        "pub fn ours(\n    number: u32,\n    afi: Afi,\n) {}",
        "    pub fn ours(&self) -> Afi {",
        "pub type Ours = rustbgpd_wire::Safi;",
        "impl From<Afi> for Ours {",
        "pub use rustbgpd_wire::Safi;",
    ] {
        let text = format!("//! A module.\nuse rustbgpd_wire::{{Afi, Safi}};\n{leak}\n");
        assert_eq!(leaks(&text, &types).len(), 1, "{leak}");
    }
    for fine in [
        "pub(super) fn ours(afi: Afi) {}",
        "impl From<Afi> for Private {",
        "pub fn ours() {\n    use_of(Afi::Ipv4);\n}",
    ] {
        let text = format!("//! A module.\nuse rustbgpd_wire::{{Afi, Safi}};\n{fine}\n");
        assert_eq!(leaks(&text, &types), Vec::<&str>::new(), "{fine}");
    }
}
