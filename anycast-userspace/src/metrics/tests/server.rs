//! The server: what it answers, and what it does not let a client do.

use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::*;
use crate::config::Listen;
use crate::metrics::server::{ListenError, Listener, Source, serve};

const PATIENCE: Duration = Duration::from_secs(30);

struct NoPeers;

impl MeasurePeers for NoPeers {
    fn measure(&self) -> Pin<Box<dyn Future<Output = Vec<PeerSample>> + Send + '_>> {
        Box::pin(std::future::ready(Vec::new()))
    }
}

/// A server and the controller's answer to it; both end when it is dropped.
struct Served {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

async fn listener() -> (SocketAddr, Listener) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    (listener.local_addr().unwrap(), Listener::Tcp(listener))
}

async fn served() -> Served {
    let (address, listener) = listener().await;
    Served {
        address,
        _tasks: serving(listener),
    }
}

fn serving(listener: Listener) -> JoinSet<()> {
    let (scrapes, mut asked) = mpsc::channel::<Scrape>(1);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Some(scrape) = asked.recv().await {
            let _gone = scrape.reply.send(status());
        }
    });
    let source = Source {
        metrics: metrics(),
        scrapes,
        peers: Arc::new(NoPeers),
    };
    tasks.spawn(serve(listener, source));
    tasks
}

/// Sends a request and reads until the server closes.
async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A server that has said enough closes while it is still being written to.
    let _ = stream.write_all(request.as_bytes()).await;
    read(stream).await
}

async fn read(mut stream: impl tokio::io::AsyncRead + Unpin) -> String {
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(PATIENCE, read)
        .await
        .expect("the server closes");
    String::from_utf8(answer).expect("text")
}

#[tokio::test]
async fn only_the_page_is_there_and_only_to_be_read() {
    let served = served().await;
    let cases = [
        ("GET /metrics", "", "HTTP/1.1 200 OK", "anycast_build_info{"),
        ("GET /metrics?name=x", "", "HTTP/1.1 200 OK", "# TYPE"),
        (
            "GET /metrics",
            "Accept: application/openmetrics-text\r\n",
            "HTTP/1.1 200 OK",
            "# EOF",
        ),
        ("GET /", "", "HTTP/1.1 404 Not Found", "/metrics"),
        ("GET /metrics/", "", "HTTP/1.1 404 Not Found", "/metrics"),
        (
            "POST /metrics",
            "Content-Length: 5\r\n",
            "HTTP/1.1 405 Method Not Allowed",
            "GET, HEAD",
        ),
        ("DELETE /metrics", "", "HTTP/1.1 405 Method Not Allowed", ""),
    ];
    for (line, headers, status, words) in cases {
        let request = format!("{line} HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        let answer = ask(served.address, &request).await;
        assert!(answer.starts_with(status), "{line}: {answer}");
        assert!(answer.contains(words), "{line}: {answer}");
    }
    let head = ask(served.address, "HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "a HEAD has no body: {head}");
    assert!(head.contains("version=0.0.4"), "{head}");
}

#[tokio::test]
async fn a_request_s_head_is_bounded() {
    let served = served().await;
    let long = "x".repeat(64 * 1024);
    let answer = ask(
        served.address,
        &format!("GET /metrics HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"),
    )
    .await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
    let answer = ask(served.address, "no request at all\r\n\r\n").await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
        "{answer}"
    );
}

#[tokio::test]
async fn clients_that_say_nothing_lose_their_place_to_one_that_does() {
    let served = served().await;
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(TcpStream::connect(served.address).await.unwrap());
    }
    let answer = ask(served.address, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    drop(silent);
}

#[tokio::test]
async fn a_controller_that_is_gone_is_said_to_be() {
    let (scrapes, asked) = mpsc::channel::<Scrape>(1);
    drop(asked);
    let (address, listener) = listener().await;
    let source = Source {
        metrics: metrics(),
        scrapes,
        peers: Arc::new(NoPeers),
    };
    let serving = tokio::spawn(serve(listener, source));
    let answer = ask(address, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    serving.abort();
}

#[tokio::test]
async fn a_unix_socket_serves_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("metrics.sock");
    let listener = Listener::bind(&Listen::Path(path.clone())).await.unwrap();
    let _tasks = serving(listener);
    let mut stream = UnixStream::connect(&path).await.unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let answer = read(stream).await;
    assert!(answer.contains("anycast_build_info{"), "{answer}");
}

#[tokio::test]
async fn an_address_that_cannot_be_listened_on_is_named() {
    let (address, _listener) = listener().await;
    let error = Listener::bind(&Listen::Address(address)).await.unwrap_err();
    assert!(matches!(error, ListenError::Address { .. }));
    let words = error.to_string();
    assert!(
        words.contains("metrics.listen") && words.contains(&address.to_string()),
        "{words}"
    );
    let path = Path::new("/proc/anycast/metrics.sock").to_owned();
    let error = Listener::bind(&Listen::Path(path)).await.unwrap_err();
    assert!(error.to_string().contains("/proc/anycast"), "{error}");
}
