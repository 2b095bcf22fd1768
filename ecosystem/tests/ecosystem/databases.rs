//! Databases in handlers: SQLite, PostgreSQL, and Redis as the bus of a hub.

use std::env;

use futures_util::StreamExt;
use sqlx::{Pool, Postgres, Row, Sqlite};
use tidegate::prelude::*;
use tidegate::websocket::{Hub, HubConfig};
use tokio_tungstenite::connect_async;

use crate::support::*;

/// The address of a database server that the test's script has started.
fn server_url(variable: &str) -> String {
    env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set: run the tests with ci/ecosystem.sh, which starts servers"))
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_use_sqlite() {
    on_every_engine(async |setup| {
        let pool: Pool<Sqlite> = Pool::connect("sqlite::memory:").await.unwrap();
        let app = Router::new().post("/add", async move |mut request: Request| -> web::Result<String> {
            let name = request.text().await?;
            sqlx::query("CREATE TABLE IF NOT EXISTS users (name TEXT)").execute(&pool).await?;
            sqlx::query("INSERT INTO users VALUES (?)").bind(name).execute(&pool).await?;
            let rows = sqlx::query("SELECT name FROM users ORDER BY name").fetch_all(&pool).await?;
            Ok(rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>().join(","))
        });
        let server = TestServer::start(&setup, app);
        for (name, all) in [("ann", "ann"), ("bob", "ann,bob")] {
            let response = client().post(server.url("/add")).body(name).send().await.unwrap();
            assert_eq!(response.text().await.unwrap(), all);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_use_postgres() {
    let url = server_url("TEST_POSTGRES_URL");
    on_every_engine(async |setup| {
        let pool: Pool<Postgres> = Pool::connect(&url).await.unwrap();
        let app = Router::new().get("/sum/:n", async move |request: Request| -> web::Result<String> {
            let n: i64 = request.param("n").unwrap_or_default().parse()?;
            let row =
                sqlx::query("SELECT sum(i)::bigint FROM generate_series(1, $1) AS i").bind(n).fetch_one(&pool).await?;
            Ok(row.get::<i64, _>(0).to_string())
        });
        let server = TestServer::start(&setup, app);
        let clients: Vec<_> = (1..=20).map(|n| (n, tokio::spawn(get(server.url(&format!("/sum/{n}")))))).collect();
        for (n, client) in clients {
            assert_eq!(client.await.unwrap(), (200, (n * (n + 1) / 2).to_string()));
        }
    })
    .await;
}

/// Messages that come from Redis are published into a hub, and so reach every WebSocket.
#[tokio::test(flavor = "multi_thread")]
async fn a_hub_publishes_what_redis_does() {
    let redis = redis::Client::open(server_url("TEST_REDIS_URL")).unwrap();
    on_every_engine(async |setup| {
        let (hub, room) = (Hub::<()>::new(HubConfig::default()), format!("news:{}", setup.name));
        let mut subscription = redis.get_async_pubsub().await.unwrap();
        subscription.subscribe(&room).await.unwrap();
        let bus = tokio::spawn({
            let hub = hub.clone();
            async move {
                let mut messages = subscription.on_message();
                while let Some(message) = messages.next().await {
                    hub.broadcast(message.get_payload::<String>().unwrap()).try_queue().unwrap();
                }
            }
        });
        let members = hub.clone();
        let app = Router::new().get(
            "/ws",
            websocket::upgrade(async move |mut ws| {
                let _member = members.register(&ws)?;
                ws.send("joined").await?;
                while ws.recv().await?.is_some() {}
                Ok(())
            }),
        );
        let server = TestServer::start(&setup, app);
        let mut clients = Vec::new();
        for _ in 0..3 {
            let (mut ws, _) = connect_async(format!("ws://{}/ws", server.address)).await.unwrap();
            assert_eq!(ws.next().await.unwrap().unwrap().into_text().unwrap(), "joined");
            clients.push(ws);
        }
        let mut publisher = redis.get_multiplexed_async_connection().await.unwrap();
        redis::cmd("PUBLISH").arg(&room).arg("extra!").exec_async(&mut publisher).await.unwrap();
        for client in &mut clients {
            assert_eq!(client.next().await.unwrap().unwrap().into_text().unwrap(), "extra!");
        }
        bus.abort();
    })
    .await;
}
