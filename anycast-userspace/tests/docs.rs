//! The configurations that the documentation shows are valid.

use std::fs;
use std::path::Path;

use anycast_userspace::config::Config;

/// The blocks that are marked as configurations, with their first lines' numbers.
fn configurations(page: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in (1..).zip(page.lines()) {
        match (&mut open, line) {
            (None, "```toml") => open = Some((number + 1, String::new())),
            (Some(_), "```") => blocks.extend(open.take()),
            (Some((_, text)), line) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, _) => {}
        }
    }
    blocks
}

#[test]
fn every_configuration_in_the_documentation_is_valid() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("anycast.toml");
    let mut seen = 0;
    for entry in fs::read_dir(docs).expect("the documentation") {
        let path = entry.expect("a page").path();
        let page = fs::read_to_string(&path).expect("a page");
        for (line, text) in configurations(&page) {
            fs::write(&file, text).expect("written");
            if let Err(error) = Config::load(&file) {
                panic!("{}:{line}: {error}", path.display());
            }
            seen += 1;
        }
    }
    assert!(seen >= 5, "only {seen} configurations were found");
}
