//! Pages, routes, state and JSON.

use reqwest::Method;
use serde_json::{Value, json};
use tidegate_ecosystem::apps;

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn hello() {
    on_every_server(apps::hello::app, async |site| {
        let response = client().get(site.url("/")).send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
        assert_eq!(response.content_length(), Some(22));
        assert_eq!(response.text().await.unwrap(), "<h1>Hello, World!</h1>");
        assert_eq!(get(site.url("/missing")).await, (404, String::new()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users() {
    on_every_server(apps::users::app, async |site| {
        let request = client().post(site.url("/users")).json(&json!({ "username": "ann" }));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 201);
        assert_eq!(response.json::<Value>().await.unwrap(), json!({ "id": 1337, "username": "ann" }));
        let invalid = client().post(site.url("/users")).body("{").send().await.unwrap();
        assert_eq!(invalid.status(), 415);
        let wrong = client().get(site.url("/users")).send().await.unwrap();
        assert_eq!((wrong.status().as_u16(), &wrong.headers()["allow"]), (405, &"POST".parse().unwrap()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn todos() {
    on_every_server(apps::todos::app, async |site| {
        let todos = site.url("/todos");
        for text in ["one", "two", "three"] {
            let response = client().post(&todos).json(&json!({ "text": text })).send().await.unwrap();
            assert_eq!(response.status(), 201);
        }
        let changed = client().patch(format!("{todos}/2")).json(&json!({ "completed": true })).send().await.unwrap();
        assert_eq!(changed.json::<Value>().await.unwrap(), json!({ "id": 2, "text": "two", "completed": true }));
        let missing = client().patch(format!("{todos}/9")).json(&json!({})).send().await.unwrap();
        assert_eq!(missing.status(), 404);
        assert_eq!(client().delete(format!("{todos}/1")).send().await.unwrap().status(), 204);
        assert_eq!(client().delete(format!("{todos}/1")).send().await.unwrap().status(), 404);
        let (_, page) = get(format!("{todos}?offset=1&limit=5")).await;
        assert_eq!(page, r#"[{"id":3,"text":"three","completed":false}]"#);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versioning() {
    on_every_server(apps::versioning::app, async |site| {
        assert_eq!(get(site.url("/v1/foo")).await, (200, "received request with version V1".into()));
        assert_eq!(get(site.url("/v2/foo")).await, (200, "received request with version V2".into()));
        assert_eq!(get(site.url("/v3/foo")).await, (404, "unknown version".into()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn templates() {
    on_every_server(apps::templates::app, async |site| {
        assert_eq!(get(site.url("/greet/Ann")).await, (200, "<h1>Hello, Ann!</h1>".into()));
        let (_, page) = get(site.url("/greet/%3Cb%3E%20%C3%A4")).await;
        assert_eq!(page, "<h1>Hello, &lt;b&gt; ä!</h1>");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dependency_injection() {
    on_every_server(apps::dependency_injection::app, async |site| {
        assert_eq!(get(site.url("/dyn/1")).await.0, 404);
        let saved = client().put(site.url("/dyn/1")).body("ann").send().await.unwrap();
        assert_eq!(saved.status(), 201);
        assert_eq!(get(site.url("/dyn/1")).await, (200, "ann".into()));
        assert_eq!(get(site.url("/generic/1")).await, (200, "ann".into()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn state() {
    on_every_server(apps::state::app, async |site| {
        assert_eq!(get(site.url("/")).await, (200, "extended 1".into()));
        assert_eq!(get(site.url("/")).await, (200, "extended 2".into()));
        assert_eq!(get(site.url("/inner")).await, (200, "counter".into()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn method_routing() {
    on_every_server(apps::method_routing::app, async |site| {
        for (method, path, text) in [
            (Method::GET, "/", "root"),
            (Method::GET, "/foo", "get foo"),
            (Method::PUT, "/foo", "put foo"),
            (Method::DELETE, "/foo", "delete foo"),
            (Method::TRACE, "/trace", "trace"),
        ] {
            let response = client().request(method, site.url(path)).send().await.unwrap();
            assert_eq!(response.text().await.unwrap(), text);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn not_found() {
    on_every_server(apps::not_found::app, async |site| {
        assert_eq!(get(site.url("/api")).await, (200, "api".into()));
        assert_eq!(get(site.url("/nowhere?a=b")).await, (404, "nothing at /nowhere".into()));
        assert_eq!(get(site.url("/api/nowhere")).await, (404, "nothing at /api/nowhere".into()));
        let wrong = client().post(site.url("/")).send().await.unwrap();
        assert_eq!((wrong.status().as_u16(), wrong.text().await.unwrap()), (405, "no POST here".into()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn head_requests() {
    on_every_server(apps::head_requests::app, async |site| {
        let response = client().head(site.url("/")).send().await.unwrap();
        assert_eq!(response.headers()["x-some-header"], "header from HEAD");
        assert_eq!(response.text().await.unwrap(), "");
        let response = client().head(site.url("/automatic")).send().await.unwrap();
        assert_eq!(response.headers()["content-length"], "9");
        assert_eq!(get(site.url("/")).await, (200, "body from GET".into()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn optional_query() {
    on_every_server(apps::optional_query::app, async |site| {
        for (query, shown) in [
            ("", "Params { foo: None, bar: None }"),
            ("?foo=&bar=", "Params { foo: None, bar: Some(\"\") }"),
            ("?foo=1&bar=a%20b", "Params { foo: Some(1), bar: Some(\"a b\") }"),
        ] {
            assert_eq!(get(site.url(&format!("/{query}"))).await, (200, shown.into()));
        }
        assert_eq!(get(site.url("/?foo=x")).await.0, 400);
        assert_eq!(get(site.url("/raw?a=%2F&&b")).await, (200, "a=%2F&&b".into()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies() {
    on_every_server(apps::cookies::app, async |site| {
        assert_eq!(get(site.url("/")).await, (200, "not logged in".into()));
        let response = client().get(site.url("/login")).send().await.unwrap();
        assert_eq!((response.status().as_u16(), &response.headers()["location"]), (303, &"/".parse().unwrap()));
        let cookies: Vec<_> = response.headers().get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["session=7; HttpOnly", "theme=dark"]);
        let request = client().get(site.url("/")).header("cookie", "theme=dark; session=7");
        assert_eq!(request.send().await.unwrap().text().await.unwrap(), "session 7");
    })
    .await;
}
