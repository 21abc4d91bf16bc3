use std::time::Instant as Clock;

use super::super::server;
use super::*;

fn client(url: &str) -> Client {
    Client::start(Address::parse("share", url).unwrap(), &Settings::default())
}

/// Waits until the connection is up or down.
async fn settled(client: &Client) -> Status {
    client.status().wait_for(|status| *status != Status::Connecting).await.unwrap().clone()
}

async fn up_again(client: &Client) {
    let mut status = client.status();
    timeout(Duration::from_secs(5), status.wait_for(|status| *status == Status::Up)).await.unwrap().unwrap();
}

fn text(value: &str) -> Value {
    Value::Bytes(Bytes::copy_from_slice(value.as_bytes()))
}

#[tokio::test]
async fn commands_are_answered_in_order() {
    let Some(server) = server::start(&[]) else { return };
    let client = client(&server.url());
    let calls = (0..100).map(|number| {
        let client = client.clone();
        async move { client.command(&[b"ECHO".as_slice(), format!("{number}").as_bytes()]).await.unwrap() }
    });
    let answers = futures_util::future::join_all(calls).await;
    assert_eq!(answers, (0..100).map(|number| text(&number.to_string())).collect::<Vec<_>>());
    let big = "x".repeat(1 << 20);
    assert_eq!(client.command(&["ECHO", &big]).await.unwrap(), text(&big));
    let refused = client.command(&["NOSUCH"]).await.unwrap_err();
    assert!(refused.message.contains("unknown command"), "{refused}");
    assert_eq!(*client.status().borrow(), Status::Up);
}

#[tokio::test]
async fn login_and_database() {
    let user = ["--requirepass", "all", "--user", "ann", "on", ">s@same", "~*", "+@all"];
    let Some(server) = server::start(&user) else { return };
    let at = format!("127.0.0.1:{}", server.port);
    let named = client(&format!("redis://ann:s%40same@{at}/3"));
    named.command(&["SET", "place", "three"]).await.unwrap();
    let default = client(&format!("redis://:all@{at}/3"));
    assert_eq!(default.command(&["GET", "place"]).await.unwrap(), text("three"));
    let other = client(&format!("redis://:all@{at}"));
    assert_eq!(other.command(&["GET", "place"]).await.unwrap(), Value::Nil);
    for (wrong, code) in [
        (format!("redis://:sesame@{at}"), "WRONGPASS"),
        (format!("redis://ann:sesame@{at}"), "WRONGPASS"),
        (format!("redis://{at}"), "NOAUTH"),
        (format!("redis://:all@{at}/999"), "ERR DB index"),
    ] {
        let Status::Down(why) = settled(&client(&wrong)).await else { panic!("{wrong}") };
        assert!(why.contains(code) && why.contains(&at) && !why.contains("sesame"), "{why}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn unix_socket() {
    let path = std::env::temp_dir().join(format!("ritellm redis {}", std::process::id()));
    let path = path.to_str().unwrap();
    let Some(_server) = server::start(&["--unixsocket", path]) else { return };
    let client = client(&format!("redis+unix://{}?db=1", path.replace(' ', "%20")));
    assert_eq!(client.command(&["ECHO", "here"]).await.unwrap(), text("here"));
}

#[tokio::test]
async fn scripts_are_sent_again_when_forgotten() {
    let Some(mut server) = server::start(&[]) else { return };
    let client = client(&server.url());
    let script = Script::new("return {KEYS[1], ARGV[1]}");
    let arguments = [Bytes::from_static(b"1")];
    let run = || client.run(&script, "key", &arguments);
    let expected = Value::Array(vec![text("key"), text("1")]);
    assert_eq!(run().await.unwrap(), expected);
    client.command(&["SCRIPT", "FLUSH"]).await.unwrap();
    assert_eq!(run().await.unwrap(), expected);
    server.restart();
    let _ = client.command(&["PING"]).await;
    up_again(&client).await;
    assert_eq!(run().await.unwrap(), expected);
}

#[tokio::test]
async fn a_redis_that_is_gone_or_frozen_holds_up_nobody() {
    let Some(mut server) = server::start(&[]) else { return };
    let client = client(&server.url());
    client.command(&["PING"]).await.unwrap();
    server.signal("STOP");
    let begun = Clock::now();
    let (one, two) = futures_util::future::join(client.command(&["PING"]), client.command(&["PING"])).await;
    assert!(one.unwrap_err().message.contains("250ms") && two.is_err());
    assert!(begun.elapsed() >= COMMAND);
    // Now it is known, and the next command fails at once.
    assert_eq!(client.command(&["PING"]).await.unwrap_err().kind, ErrorKind::ApiConnection);
    server.signal("CONT");
    up_again(&client).await;
    client.command(&["PING"]).await.unwrap();
    server.end();
    assert!(client.command(&["PING"]).await.is_err());
    server.restart();
    up_again(&client).await;
    client.command(&["PING"]).await.unwrap();
}

#[tokio::test]
async fn nobody_is_there_or_another_protocol() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        }
    });
    let Status::Down(why) = settled(&client(&format!("redis://127.0.0.1:{port}"))).await else { panic!() };
    assert!(why.contains("cannot be read"), "{why}");
    let Status::Down(why) = settled(&client("redis://127.0.0.1:1")).await else { panic!() };
    assert!(why.contains("cannot connect to 127.0.0.1:1"), "{why}");
}

#[tokio::test]
async fn a_server_that_answers_too_late_is_never_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = tokio::spawn(async move {
        let mut logins = 0;
        while logins < 3 {
            let (mut stream, _) = listener.accept().await.unwrap();
            logins += 1;
            tokio::spawn(async move {
                use tokio::io::{AsyncReadExt, AsyncWriteExt};
                let mut buffer = [0; 100];
                while let Ok(1..) = stream.read(&mut buffer).await {
                    tokio::time::sleep(COMMAND + Duration::from_millis(50)).await;
                    let _ = stream.write_all(b"+PONG\r\n").await;
                }
            });
        }
    });
    let client = client(&format!("redis://127.0.0.1:{port}"));
    let mut status = client.status();
    let up = async { status.wait_for(|status| *status == Status::Up).await.is_ok() };
    // Three attempts to log in, none of which is in time.
    tokio::select! {
        _ = up => panic!("it was up"),
        served = served => served.unwrap(),
    }
}
