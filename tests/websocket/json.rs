//! Messages as JSON.

use serde_json::{Value, json};
use tidegate::prelude::*;
use tidegate::websocket::Error;

use crate::handler::reports;
use crate::support::client::{BINARY, Client, TEXT, close_frame};
use crate::support::servers::{TestServer, on_every_engine};

#[test]
fn values_go_both_ways() {
    on_every_engine(|setup| {
        let server = TestServer::serve(setup, WebSocketConfig::default(), |mut ws: WebSocket| async move {
            while let Some((name, numbers)) = ws.recv_json::<(String, Vec<i64>)>().await? {
                let answer = json!({"name": name, "sum": numbers.iter().sum::<i64>()});
                ws.send_json(&answer).await?;
                ws.sender().send_json(&numbers).await?;
                ws.sender().try_send_json(&None::<u8>)?;
            }
            Ok(())
        });
        let mut client = Client::open(server.address);
        for first in [TEXT, BINARY] {
            client.send(first, r#"["潮\u6c50", [1, 2, 39]]"#.as_bytes());
            let answer = client.next().unwrap();
            assert_eq!(answer.first, TEXT);
            let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
            assert_eq!(answer, json!({"name": "潮汐", "sum": 42}));
            client.expect(TEXT, b"[1,2,39]");
            client.expect(TEXT, b"null");
        }
        client.close();
        server.finish();
    });
}

/// A message that is not JSON, or of another shape, leaves the connection open. The error, returned by the handler,
/// closes with 1007.
#[test]
fn other_messages_are_errors_that_close_nothing() {
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let server = TestServer::serve(setup, WebSocketConfig::default(), async move |mut ws: WebSocket| {
            let first = ws.recv_json::<u8>().await;
            let second = ws.recv_json::<u8>().await;
            report.send((first, second)).unwrap();
            let no_json = ws.send_json(&[((1, 2), 3)].into_iter().collect::<std::collections::HashMap<_, _>>()).await;
            assert!(matches!(no_json, Err(Error::Application(_))), "{no_json:?}");
            let borrowed = ws.recv().await?.expect("a message");
            ws.send(borrowed.json::<&str>()?).await?;
            ws.recv_json::<u8>().await?;
            Ok(())
        });
        let mut client = Client::open(server.address);
        client.send(TEXT, b"{");
        client.send(TEXT, b"300");
        let (first, second) = reports.next();
        assert!(matches!((&first, &second), (Err(Error::Json(_)), Err(Error::Json(_)))), "{first:?} {second:?}");
        client.send(TEXT, br#""borrowed""#);
        client.expect(TEXT, b"borrowed");
        client.send(TEXT, b"true");
        client.expect_close(1007);
        client.write(&close_frame(1007, ""));
        client.expect_end();
        server.finish();
    });
}
