//! Root, for those parts that need it: installing packages, the lab, the privileged tests, the daemon. They alone
//! run through sudo where the user is not root, so that what is built belongs to the user.

use std::ffi::OsStr;
use std::fs::File;
use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::command::{run, say, succeeds};
use crate::packages;

/// How often sudo is told that it is still in use: it forgets a password after 5 minutes at the earliest.
const REFRESH: Duration = Duration::from_secs(60);

/// How this process gets at root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// It is root.
    Root,
    /// sudo, which asks for no password.
    Sudo,
    /// sudo, which asks for a password on the terminal.
    SudoWithPassword,
    /// It does not: why.
    Nobody(&'static str),
}

fn way() -> Way {
    static WAY: OnceLock<Way> = OnceLock::new();
    *WAY.get_or_init(|| {
        if nix::unistd::geteuid().is_root() {
            return Way::Root;
        }
        if !packages::is_on_path("sudo") {
            return Way::Nobody("there is no sudo here");
        }
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        if status.lines().any(|line| line == "NoNewPrivs:\t1") {
            return Way::Nobody("this process may gain no privileges (no_new_privs)");
        }
        if succeeds("sudo", &["--non-interactive", "true"]) {
            Way::Sudo
        } else if File::open("/dev/tty").is_ok() {
            Way::SudoWithPassword
        } else {
            Way::Nobody("sudo asks for a password, and there is no terminal")
        }
    })
}

/// Whether there is a way to root.
pub(crate) fn is_possible() -> bool {
    match way() {
        Way::Root | Way::Sudo | Way::SudoWithPassword => true,
        Way::Nobody(_) => false,
    }
}

/// Says once what root is needed for, and asks for the password now rather than in the middle of the work.
/// Where there is no way to root nothing is asked: what can be done without is done first.
pub(crate) fn announce(uses: &str) -> anyhow::Result<()> {
    match way() {
        Way::Root => Ok(()),
        Way::Sudo => {
            say(&format!(
                "root is needed for {uses}: that alone runs through sudo"
            ));
            Ok(())
        }
        Way::SudoWithPassword => {
            say(&format!(
                "root is needed for {uses}: that alone runs through sudo, which may ask for your password now"
            ));
            authenticate()
        }
        Way::Nobody(why) => {
            say(&format!(
                "root is needed for {uses}, and {why}: what needs none is done, and then the line to run as root is \
                 told"
            ));
            Ok(())
        }
    }
}

fn authenticate() -> anyhow::Result<()> {
    run(Command::new("sudo").arg("--validate")).context("sudo lets nobody in")?;
    thread::Builder::new()
        .name("sudo".into())
        .spawn(|| {
            while succeeds("sudo", &["--non-interactive", "--validate"]) {
                thread::sleep(REFRESH);
            }
        })
        .context("starting the thread that keeps sudo open")?;
    Ok(())
}

/// A command that runs as root, with these variables besides root's own.
///
/// # Errors
/// Where there is no way to root: the line to run as root instead.
pub(crate) fn command<S: AsRef<OsStr>>(
    variables: &[(&str, &OsStr)],
    program: impl AsRef<OsStr>,
    args: &[S],
) -> anyhow::Result<Command> {
    let mut command = match way() {
        Way::Root => {
            let mut command = Command::new(program);
            command.envs(variables.iter().copied());
            command
        }
        Way::Sudo | Way::SudoWithPassword => {
            let mut command = Command::new("sudo");
            command.arg("env");
            command.args(assignments(variables));
            command.arg(program);
            command
        }
        Way::Nobody(why) => {
            let mut words: Vec<String> = assignments(variables);
            if !words.is_empty() {
                words.insert(0, "env".to_owned());
            }
            words.push(program.as_ref().to_string_lossy().into_owned());
            words.extend(
                args.iter()
                    .map(|word| word.as_ref().to_string_lossy().into_owned()),
            );
            bail!("this takes root, and {why}. Run as root: {}", line(&words));
        }
    };
    command.args(args);
    Ok(command)
}

/// This program as root.
pub(crate) fn itself(args: &[&str]) -> anyhow::Result<Command> {
    let program = std::env::current_exe().context("this program's file is not known")?;
    command(&[], program, args)
}

fn assignments(variables: &[(&str, &OsStr)]) -> Vec<String> {
    variables
        .iter()
        .map(|(name, value)| format!("{name}={}", value.to_string_lossy()))
        .collect()
}

/// What to type where there is no sudo.
pub(crate) fn line(words: &[impl AsRef<str>]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| quoted(word.as_ref())).collect();
    format!("su -c {}", quoted_always(&quoted.join(" ")))
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        quoted_always(word)
    }
}

fn quoted_always(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_for_root_can_be_pasted_into_a_shell() {
        for (words, want) in [
            (
                &["apt-get", "install", "-y", "bird2"][..],
                "su -c 'apt-get install -y bird2'",
            ),
            (
                &["env", "A=b c", "/home/a b/xtask", "it's"],
                r"su -c 'env '\''A=b c'\'' '\''/home/a b/xtask'\'' '\''it'\''\'\'''\''s'\'''",
            ),
        ] {
            let line = line(words);
            assert_eq!(line, want);
            // What a shell makes of it: su's argument, then its words.
            let shell = |script: &str| {
                let printed = format!("printf '%s\\n' {script}");
                let output = Command::new("sh").args(["-c", &printed]).output();
                String::from_utf8(output.expect("a shell").stdout).expect("UTF-8")
            };
            let inner = shell(line.strip_prefix("su -c ").expect("it begins so"));
            let got = shell(inner.trim_end_matches('\n'));
            assert_eq!(got.lines().collect::<Vec<_>>(), words);
        }
    }
}
