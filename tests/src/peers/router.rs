//! A router's namespace and its link to the node's.

use anyhow::Result;

use crate::netns::Unnamed;
use crate::process::{output, run};

/// A namespace for a router, linked to the calling thread's by a veth pair.
///
/// Link `n` has 10.0.n.1/24 and fd00:n::1/64 here, 10.0.n.2 and fd00:n::2 at the router.
#[derive(Debug)]
pub struct Router {
    namespace: Unnamed,
    /// The number of the link.
    pub link: u8,
}

impl Router {
    /// Makes the namespace and its link.
    ///
    /// # Errors
    /// Any of the `ip` commands fails.
    pub fn new(link: u8) -> Result<Self> {
        let router = Self {
            namespace: Unnamed::create()?,
            link,
        };
        let (here, there) = (format!("node{link}"), format!("router{link}"));
        let pair = format!(
            "link add {here} type veth peer name {there} netns {}",
            router.pid()
        );
        let ours = [
            pair,
            format!("address add 10.0.{link}.1/24 dev {here}"),
            format!("address add fd00:{link}::1/64 dev {here} nodad"),
            format!("link set {here} up"),
        ];
        for line in ours {
            run("ip", &line.split(' ').collect::<Vec<_>>())?;
        }
        router.namespace.ip(&[
            &format!("address add 10.0.{link}.2/24 dev {there}"),
            &format!("address add fd00:{link}::2/64 dev {there} nodad"),
            &format!("link set {there} up"),
        ])?;
        Ok(router)
    }

    /// The process whose network namespace this is.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.namespace.pid()
    }

    /// Runs `ip` in the router's namespace.
    ///
    /// # Errors
    /// The command fails.
    pub fn ip(&self, arguments: &[&str]) -> Result<String> {
        self.run("ip", arguments)
    }

    /// Runs a program in the router's namespace.
    ///
    /// # Errors
    /// The command fails.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let mut command = self.namespace.command(program)?;
        command.args(arguments);
        output(command)
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        // The kernel removes the link with the namespace, but only some time after it has ended.
        let _ = run("ip", &["link", "delete", &format!("node{}", self.link)]);
    }
}
