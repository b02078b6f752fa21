//! HTTP responses, whole, broken and endless.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{LOOPBACK, assert_fails, first_outcome};
use crate::health::FailureKind;

#[tokio::test]
async fn a_header_of_any_length_is_told_in_part() {
    let head = format!("HTTP/1.1 200 OK\r\nX-City: {}\r\n\r\n", "a".repeat(50_000));
    let port = server(Answer::Send(head.leak())).await;
    let settings = "timeout = \"5s\"\nexpect_headers = { x-city = \"b\" }";
    let outcome = first_outcome(&format!("type = \"http\"\nport = {port}\n{settings}")).await;
    assert_fails(&outcome, FailureKind::Mismatch, "header `x-city` is `aaa");
    assert!(outcome.detail().chars().count() < 600);
}

/// What a server does with a connection once it has read the request.
#[derive(Clone, Copy)]
enum Answer {
    /// Sends this and closes.
    Send(&'static str),
    /// Sends this, and then the second text again and again.
    Endless(&'static str, &'static str),
    /// Sends this and keeps the connection open, silent.
    Stall(&'static str),
    /// Echoes the request's head as the body.
    Echo,
}

async fn server(answer: Answer) -> u16 {
    let listener = TcpListener::bind((LOOPBACK, 0)).await.expect("a listener");
    let port = listener.local_addr().expect("its address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).await.unwrap_or(0);
                match answer {
                    Answer::Send(text) => drop(stream.write_all(text.as_bytes()).await),
                    Answer::Endless(head, more) => {
                        let _ = stream.write_all(head.as_bytes()).await;
                        while stream.write_all(more.as_bytes()).await.is_ok() {}
                    }
                    Answer::Stall(text) => {
                        let _ = stream.write_all(text.as_bytes()).await;
                        std::future::pending::<()>().await;
                    }
                    Answer::Echo => {
                        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
                        let _ = stream.write_all(head.as_bytes()).await;
                        let _ = stream.write_all(&request[..length]).await;
                    }
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn responses_pass_or_fail_by_status_header_and_body() {
    use Answer::{Echo, Endless, Send, Stall};
    use FailureKind::{Closed, Mismatch, Protocol, Timeout};
    const OK: &str = "HTTP/1.1 200 OK\r\nX-City: city-a\r\nContent-Length: 6\r\n\r\ncity-a";
    type Case = (
        &'static str,
        Answer,
        &'static str,
        Option<(FailureKind, &'static str)>,
    );
    let cases: &[Case] = &[
        ("success by default", Send(OK), "", None),
        (
            "a redirection is not followed",
            Send("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n"),
            "",
            Some((Mismatch, "status 302")),
        ),
        (
            "a listed status",
            Send("HTTP/1.1 404 Not Found\r\n\r\n"),
            "status = [\"200-299\", \"404\"]",
            None,
        ),
        (
            "the body contains the text",
            Send(OK),
            "body_contains = \"ity-\"",
            None,
        ),
        (
            "the body lacks the text",
            Send(OK),
            "body_contains = \"city-b\"",
            Some((Mismatch, "no `city-b`")),
        ),
        (
            "the body matches",
            Send(OK),
            "body_matches = \"^city-[a-c]$\"",
            None,
        ),
        (
            "the body does not match",
            Send(OK),
            "body_matches = \"^town\"",
            Some((Mismatch, "no match of `^town`")),
        ),
        (
            "a header contains the text",
            Send(OK),
            "expect_headers = { x-city = \"city\" }",
            None,
        ),
        (
            "a header says something else",
            Send(OK),
            "expect_headers = { x-city = \"town\" }",
            Some((Mismatch, "header `x-city` is `city-a`")),
        ),
        (
            "a header is missing",
            Send(OK),
            "expect_headers = { x-town = \"a\" }",
            Some((Mismatch, "no header `x-town`")),
        ),
        ("nothing but a close", Send(""), "", Some((Closed, ""))),
        (
            "not HTTP at all",
            Send("220 mail.example ESMTP\r\n"),
            "",
            Some((Protocol, "")),
        ),
        (
            "a body cut short",
            Send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncity"),
            "body_contains = \"x\"",
            Some((Closed, "")),
        ),
        (
            "headers that never end",
            Endless("HTTP/1.1 200 OK\r\n", "X-More: yes\r\n"),
            "",
            Some((Protocol, "")),
        ),
        (
            "a body that never ends is not read without need",
            Endless("HTTP/1.1 200 OK\r\n\r\n", "more"),
            "",
            None,
        ),
        (
            "a body that never ends is read up to a limit",
            Endless("HTTP/1.1 200 OK\r\n\r\n", "more"),
            "body_contains = \"less\"",
            Some((Mismatch, "64 KiB")),
        ),
        (
            "a body that stops half-way",
            Stall("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncity"),
            "body_contains = \"city-a\"",
            Some((Timeout, "no result within")),
        ),
        (
            "the text before a body stops is enough",
            Stall("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncity"),
            "body_contains = \"city\"",
            None,
        ),
        (
            "the Host header defaults to the target",
            Echo,
            "body_matches = \"(?i)host: 127.0.0.1:\"",
            None,
        ),
        (
            "method, path, Host and headers are sent",
            Echo,
            "method = \"OPTIONS\"\npath = \"/a?b=c\"\nhost = \"city.example\"\nheaders = { x-probe = \"7\" }\n\
             body_matches = \"(?is)^OPTIONS /a.b=c HTTP/1.1.*host: city.example.*x-probe: 7\"",
            None,
        ),
        (
            "a match before a body stops is enough",
            Stall("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncity"),
            "body_matches = \"c.ty\"",
            None,
        ),
        (
            "configured headers are sent instead of our own, once",
            Echo,
            "headers = { Host = \"town.example\", User-Agent = \"probe\" }\n\
             body_matches = '(?is)^GET / HTTP/1.1\\s+connection: close\\s+host: town.example\\s+user-agent: probe\\s+$'",
            None,
        ),
    ];
    for (name, answer, settings, want) in cases {
        let port = server(*answer).await;
        let timeout = if matches!(want, Some((Timeout, _))) {
            "200ms"
        } else {
            "5s"
        };
        let outcome = first_outcome(&format!(
            "type = \"http\"\nport = {port}\ntimeout = \"{timeout}\"\n{settings}"
        ))
        .await;
        match want {
            None => assert!(outcome.passed(), "{name}: {outcome:?}"),
            Some((kind, words)) => {
                assert!(!outcome.passed(), "{name} passed: {outcome:?}");
                assert_fails(&outcome, *kind, words);
            }
        }
    }
}
