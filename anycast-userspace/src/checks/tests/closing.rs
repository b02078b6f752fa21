//! How the checks' connections end: by a reset, once nothing is owed to the server.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use super::{LOOPBACK, check, start};

const RUNS: usize = 20;

fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind((LOOPBACK, 0)).expect("a listener");
    let port = listener.local_addr().expect("its address").port();
    (listener, port)
}

/// RUNS of a check of that port, all of which pass.
async fn run(settings: &str, port: u16) {
    let check = check(&format!(
        "port = {port}\ninterval = \"10ms\"\nsplay = \"0s\"\n{settings}"
    ));
    let (running, mut reports) = start(&check, &[LOOPBACK]);
    for run in 0..RUNS {
        let report = reports.recv().await.expect("a report");
        assert!(report.outcome.passed(), "{run}: {:?}", report.outcome);
    }
    running.stop().await;
}

/// RUNS of a check against a server that does this to each connection; the server's port and what it made of them.
async fn runs_against<T: Send + 'static>(
    settings: &str,
    serve: fn(TcpStream) -> T,
) -> (u16, Vec<T>) {
    let (listener, port) = listener();
    let serving = thread::spawn(move || {
        let accepted = listener.incoming().take(RUNS);
        accepted
            .map(|stream| serve(stream.expect("a connection")))
            .collect()
    });
    run(settings, port).await;
    let seen = tokio::task::spawn_blocking(|| serving.join().expect("the server"));
    (port, seen.await.expect("a thread"))
}

/// Sockets in TIME_WAIT with this port at either end (proc_pid_net(5)).
fn waiting(port: u16) -> usize {
    const TIME_WAIT: &str = "06";
    let port = format!(":{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the sockets");
    let rows = table
        .lines()
        .map(|row| row.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| {
        let ends = &row[1..3];
        row[3] == TIME_WAIT && ends.iter().any(|end| end.ends_with(&port))
    })
    .count()
}

/// What a server reads until the end: nothing more, or that the connection was reset.
fn end(mut stream: TcpStream) -> Result<Vec<u8>, io::ErrorKind> {
    let mut read = Vec::new();
    match stream.read_to_end(&mut read) {
        Ok(_) => Ok(read),
        Err(error) => Err(error.kind()),
    }
}

#[tokio::test]
async fn a_server_does_not_hear_of_a_tcp_check_which_leaves_nothing_waiting() {
    let (listener, port) = listener();
    run("type = \"tcp\"", port).await;
    listener.set_nonblocking(true).expect("a listener");
    let accepted = listener.accept().map(drop).map_err(|error| error.kind());
    assert_eq!(accepted, Err(io::ErrorKind::WouldBlock));
    assert_eq!(waiting(port), 0);
}

/// Reads the request, answers, and closes first or not.
fn answer(mut stream: TcpStream, answer: &[u8], closes: bool) -> Vec<u8> {
    let mut request = vec![0; 4096];
    let length = stream.read(&mut request).expect("a request");
    request.truncate(length);
    stream.write_all(answer).expect("taken");
    if !closes {
        assert_eq!(end(stream), Err(io::ErrorKind::ConnectionReset));
    }
    request
}

#[tokio::test]
async fn an_http_check_has_the_whole_answer_before_it_resets_and_leaves_nothing_waiting() {
    const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let settings = "type = \"http\"\nbody_contains = \"ok\"";
    let servers: [fn(TcpStream) -> Vec<u8>; 2] = [
        |stream| answer(stream, WHOLE, false),
        |stream| answer(stream, WHOLE, true),
    ];
    for server in servers {
        let (port, requests) = runs_against(settings, server).await;
        assert!(
            requests
                .iter()
                .all(|request| request.starts_with(b"GET / HTTP/1.1\r\n"))
        );
        assert_eq!(waiting(port), 0);
    }
}

#[tokio::test]
async fn a_dns_check_over_tcp_leaves_nothing_waiting() {
    let settings = "type = \"dns\"\nquery = \"city.example.\"\ntransport = \"tcp\"";
    let (port, _) = runs_against(settings, |mut stream| {
        let mut query = vec![0; 512];
        let length = stream.read(&mut query).expect("a query");
        // After the length and the id: the bit that makes it an answer.
        query[4] |= 0x80;
        stream.write_all(&query[..length]).expect("taken");
        end(stream)
    })
    .await;
    assert_eq!(waiting(port), 0);
}
