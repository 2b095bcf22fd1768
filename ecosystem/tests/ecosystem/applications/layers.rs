//! Layers: limits, timeouts, CORS, ids, logs, metrics.

use std::time::Instant;

use reqwest::Method;
use tidegate_ecosystem::apps;

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn key_value_store() {
    on_every_server(apps::key_value_store::app, async |site| {
        assert_eq!(get(site.url("/a")).await.0, 404);
        let value = "x".repeat(4000);
        assert_eq!(client().post(site.url("/a")).body(value.clone()).send().await.unwrap().status(), 200);
        assert_eq!(client().post(site.url("/b")).body("").send().await.unwrap().status(), 200);
        let large = client().post(site.url("/c")).body("x".repeat(5001)).send().await.unwrap();
        assert_eq!(large.status(), 413);
        assert_eq!(get(site.url("/a")).await, (200, value));
        let compressed = client().get(site.url("/a")).header("accept-encoding", "gzip").send().await.unwrap();
        assert_eq!(compressed.headers()["content-encoding"], "gzip");
        assert_eq!(get(site.url("/keys")).await, (200, "a\nb".into()));
        assert_eq!(client().delete(site.url("/admin/key/a")).send().await.unwrap().status(), 401);
        let delete = client().delete(site.url("/admin/key/a")).bearer_auth("secret-token");
        assert_eq!(delete.send().await.unwrap().status(), 200);
        assert_eq!(get(site.url("/keys")).await, (200, "b".into()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn graceful() {
    on_every_server(apps::graceful::app, async |site| {
        let start = Instant::now();
        assert_eq!(get(site.url("/slow")).await, (200, String::new()));
        assert!(start.elapsed().as_millis() >= 50);
        assert_eq!(get(site.url("/forever")).await.0, 408);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tracing() {
    on_every_server(apps::tracing::app, async |site| {
        assert_eq!(get(site.url("/")).await.0, 200);
        assert_eq!(get(site.url("/fail")).await.0, 502);
        let (_, lines) = get(site.url("/lines")).await;
        let lines: Vec<_> = lines.lines().filter(|line| !line.starts_with("end")).collect();
        let expected = [
            "request /",
            "response 200 OK",
            "chunk 14",
            "request /fail",
            "response 502 Bad Gateway",
            "failure Status code: 502 Bad Gateway",
        ];
        assert_eq!(lines, expected);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cors() {
    on_every_server(apps::cors::app, async |site| {
        let request = client().get(site.url("/json")).header("origin", "http://localhost:3000");
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["access-control-allow-origin"], "http://localhost:3000");
        assert_eq!(response.text().await.unwrap(), r#"["one","two","three"]"#);
        let preflight = client().request(Method::OPTIONS, site.url("/json")).header("origin", "http://localhost:3000");
        let response = preflight.header("access-control-request-method", "GET").send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["access-control-allow-methods"], "GET");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn request_id() {
    on_every_server(apps::request_id::app, async |site| {
        let response = client().get(site.url("/")).send().await.unwrap();
        let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        assert_eq!((id.len(), response.text().await.unwrap()), (36, id));
        let response = client().get(site.url("/")).header("x-request-id", "mine").send().await.unwrap();
        assert_eq!(response.headers()["x-request-id"], "mine");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics() {
    on_every_server(apps::metrics::app, async |site| {
        for number in 0..3 {
            assert_eq!(get(site.url(&format!("/fast/{number}"))).await.0, 200);
        }
        let line = "requests{path=\"/fast/{number}\",status=\"200\"} 3\n";
        assert_eq!(get(site.url("/metrics")).await, (200, line.into()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn background_tasks() {
    on_every_server(apps::background_tasks::app, async |site| {
        for number in [3, 1, 2] {
            assert_eq!(client().post(site.url(&format!("/jobs/{number}"))).send().await.unwrap().status(), 202);
        }
        assert_eq!(get(site.url("/done/3")).await, (200, "[1, 4, 9]".into()));
    })
    .await;
}
