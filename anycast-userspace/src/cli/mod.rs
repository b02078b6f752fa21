//! The command line: what can be asked, and the exit status of each answer.
//!
//! Exit 0: done. Exit 1: not done, with one sentence on standard error. Exit 2: the command line or
//! the configuration is wrong.

mod render;
mod render_routes;
mod users;

use std::io::{self, IsTerminal as _, Write as _};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand};

use crate::app;
use crate::config::{Config, ConfigError, DEFAULT_SOCKET, Span};
use crate::control::client;
use crate::control::protocol::{Operation, Request, Response, Status};

/// Owns anycast addresses for as long as the service behind them works.
#[derive(Debug, Parser)]
#[command(name = "anycast", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground: check the services, serve their addresses, announce them
    Run(Run),
    /// Check a configuration file; every error names file, line and field
    CheckConfig(CheckConfig),
    /// Show services, checks, routes, interfaces and packets
    Status(ServiceStatusArgs),
    /// Show each BGP peer: session, timers, messages, what is announced, last errors
    Routes(StatusArgs),
    /// Show what has happened
    Events(EventsArgs),
    /// Take a service away without losing a flow: worst metric, withdrawal, quiet, down
    Drain(Operate),
    /// End a drain
    Undrain(OperateNow),
    /// Take a service away at once, whatever its checks say
    Disable(Operate),
    /// End a disable: the checks decide again
    Enable(OperateNow),
}

#[derive(Debug, Args)]
struct Run {
    /// The configuration file
    #[arg(
        short,
        long,
        value_name = "FILE",
        default_value = "/etc/anycast/anycast.toml"
    )]
    config: PathBuf,
    /// Log one of N verdicts on each CPU that receives packets: verdict, reason, service, source,
    /// destination, protocol, port and length. Without it nothing is logged, at no cost
    #[arg(long, value_name = "N", value_parser = one_of)]
    trace_verdicts: Option<NonZeroU32>,
}

fn one_of(text: &str) -> Result<NonZeroU32, String> {
    text.parse().map_err(|_| {
        format!(
            "N is a whole number from 1 to {}: one of N is logged",
            u32::MAX
        )
    })
}

#[derive(Debug, Args)]
struct CheckConfig {
    /// The configuration file
    #[arg(value_name = "FILE", required_unless_present = "schema")]
    file: Option<PathBuf>,
    /// Print the JSON schema of the configuration instead
    #[arg(long, conflicts_with = "file")]
    schema: bool,
}

#[derive(Debug, Args)]
struct Socket {
    /// The daemon's control socket
    #[arg(short, long, value_name = "PATH", default_value = DEFAULT_SOCKET, env = "ANYCAST_SOCKET")]
    socket: PathBuf,
}

#[derive(Debug, Args)]
struct StatusArgs {
    #[command(flatten)]
    socket: Socket,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ServiceStatusArgs {
    #[command(flatten)]
    status: StatusArgs,
    /// Show the packets of each Service Address instead; needs `address_counters = true` in
    /// [dataplane]
    #[arg(long)]
    addresses: bool,
}

#[derive(Debug, Args)]
struct EventsArgs {
    #[command(flatten)]
    socket: Socket,
    /// Stay, and print events as they happen
    #[arg(short, long)]
    follow: bool,
    /// Print JSON, one event a line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Operate {
    #[command(flatten)]
    now: OperateNow,
    /// End it by itself after this long, such as 30m
    #[arg(long = "for", value_name = "DURATION")]
    lasts: Option<Span>,
}

#[derive(Debug, Args)]
struct OperateNow {
    #[command(flatten)]
    socket: Socket,
    /// The service's name
    service: String,
    /// Why; shown in status and events
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Runs one command and says with what status to exit.
pub fn run(cli: Cli) -> ExitCode {
    match dispatch(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("anycast: {}", with_causes(&error));
            match error.downcast_ref::<ConfigError>() {
                Some(_) => ExitCode::from(2),
                None => ExitCode::FAILURE,
            }
        }
    }
}

/// The error and its causes, but for those that it has said itself.
fn with_causes(error: &anyhow::Error) -> String {
    let mut said = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !said.contains(&cause) {
            said.push_str(": ");
            said.push_str(&cause);
        }
    }
    said
}

fn dispatch(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Run(args) => {
            let options = app::Options {
                trace_verdicts: args.trace_verdicts,
            };
            app::run(&args.config, options)
        }
        Command::CheckConfig(args) => check_config(&args),
        Command::Status(args) if args.addresses => addresses(&args.status),
        Command::Status(args) => status(&args.status),
        Command::Routes(args) => routes(&args),
        Command::Events(args) => events(&args),
        Command::Drain(args) => operate(args.now, Operation::Drain, args.lasts),
        Command::Undrain(args) => operate(args, Operation::Undrain, None),
        Command::Disable(args) => operate(args.now, Operation::Disable, args.lasts),
        Command::Enable(args) => operate(args, Operation::Enable, None),
    }
}

fn check_config(args: &CheckConfig) -> anyhow::Result<()> {
    let Some(file) = &args.file else {
        let schema = schemars::schema_for!(Config);
        return print(&serde_json::to_string_pretty(&schema)?);
    };
    let config = app::load(file)?;
    if let Err(doubts) = Config::load_with(file, users::unknown) {
        eprintln!("{doubts}");
    }
    let addresses: usize = config
        .services
        .iter()
        .map(|service| service.addresses.len())
        .sum();
    print(&format!(
        "{}: good: {} {}, {addresses} {}",
        file.display(),
        config.services.len(),
        plural(config.services.len(), "service", "services"),
        plural(addresses, "address", "addresses"),
    ))
}

const fn plural<'word>(count: usize, one: &'word str, many: &'word str) -> &'word str {
    if count == 1 { one } else { many }
}

fn status(args: &StatusArgs) -> anyhow::Result<()> {
    let status = ask_status(&args.socket)?;
    if args.json {
        print(&serde_json::to_string_pretty(&status)?)
    } else {
        print(render::status(&status).trim_end())
    }
}

fn addresses(args: &StatusArgs) -> anyhow::Result<()> {
    let mut answers = client::ask(&args.socket.socket, &Request::Addresses)?;
    match answers
        .next()
        .context("the daemon closed without an answer")??
    {
        Response::Addresses { addresses } if args.json => {
            print(&serde_json::to_string_pretty(&addresses)?)
        }
        Response::Addresses { addresses } => print(render::addresses(&addresses).trim_end()),
        Response::Error { message } => bail!("{message}"),
        Response::Status(_) | Response::Event(_) | Response::Done { .. } => {
            bail!("the daemon answered something else")
        }
    }
}

fn routes(args: &StatusArgs) -> anyhow::Result<()> {
    let status = ask_status(&args.socket)?;
    if args.json {
        print(&serde_json::to_string_pretty(&status.peers)?)
    } else {
        print(render_routes::routes(&status.peers).trim_end())
    }
}

fn ask_status(socket: &Socket) -> anyhow::Result<Status> {
    let mut answers = client::ask(&socket.socket, &Request::Status)?;
    match answers
        .next()
        .context("the daemon closed without an answer")??
    {
        Response::Status(status) => Ok(*status),
        Response::Error { message } => bail!("{message}"),
        Response::Addresses { .. } | Response::Event(_) | Response::Done { .. } => {
            bail!("the daemon answered something else")
        }
    }
}

fn events(args: &EventsArgs) -> anyhow::Result<()> {
    let follow = args.follow;
    let colour = io::stdout().is_terminal();
    for answer in client::ask(&args.socket.socket, &Request::Events { follow })? {
        match answer? {
            Response::Event(event) if args.json => print(&serde_json::to_string(&event)?)?,
            Response::Event(event) => print(&render::event(&event, colour))?,
            Response::Error { message } => bail!("{message}"),
            Response::Status(_) | Response::Addresses { .. } | Response::Done { .. } => {
                bail!("the daemon answered something else")
            }
        }
    }
    Ok(())
}

fn operate(args: OperateNow, operation: Operation, lasts: Option<Span>) -> anyhow::Result<()> {
    let request = Request::Operate {
        service: args.service,
        operation,
        lasts,
        reason: args.reason,
    };
    let mut answers = client::ask(&args.socket.socket, &request)?;
    match answers
        .next()
        .context("the daemon closed without an answer")??
    {
        Response::Done {
            service,
            state,
            note,
        } => {
            print(&format!("{service} is {state}"))?;
            note.map_or(Ok(()), |note| print(&format!("note: {note}")))
        }
        Response::Error { message } => bail!("{message}"),
        Response::Status(_) | Response::Addresses { .. } | Response::Event(_) => {
            bail!("the daemon answered something else")
        }
    }
}

/// Prints a line; a reader that has gone away (`| head`) is no fault.
fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => Ok(written?),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;
    use crate::control::client::ClientError;

    #[test]
    fn every_cause_is_said_once() {
        let refused = || io::Error::from(io::ErrorKind::PermissionDenied);
        let cases = [
            (anyhow!("no"), "no"),
            (anyhow!("why").context("no"), "no: why"),
            (
                ClientError::Io(refused()).into(),
                "the daemon broke off: permission denied",
            ),
            (
                anyhow::Error::from(ClientError::Io(refused())).context("no status"),
                "no status: the daemon broke off: permission denied",
            ),
        ];
        for (error, want) in cases {
            assert_eq!(with_causes(&error), want);
        }
    }
}
