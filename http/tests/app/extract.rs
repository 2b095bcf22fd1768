//! Typed requests and responses of common kinds.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use tidegate_engine::block_on;
use tidegate_http::cookie::Cookie;
use tidegate_http::{
    HandlerError, HttpConfig, IntoResponse, Limits, Rejection, Request, Response, Result, Router, Server, ServerBuilder,
};

use crate::support::{Answer, ask, exchange, on_each};

#[derive(Deserialize, Serialize)]
struct Order {
    item: String,
    count: u32,
    #[serde(default)]
    tag: Vec<String>,
}

fn server() -> ServerBuilder<Router> {
    let app = Router::new()
        .get("/pages/:number", async |request: Request| -> Result<String, Rejection> {
            let number: u32 = request.param_as("number")?;
            Ok(format!("page {number}"))
        })
        .get("/orders", async |request: Request| request.query_as::<Order>().map(|order| Response::json(&order)))
        .post("/orders", async |mut request: Request| -> Result { Ok(Response::json(&request.json::<Order>().await?)) })
        .post("/form", async |mut request: Request| -> Result { Ok(Response::json(&request.form::<Order>().await?)) })
        .post("/upload", upload)
        .post("/names", names)
        .get("/visits", async |request: Request| {
            let visits: u32 = request.cookie("visits").and_then(|visits| visits.parse().ok()).unwrap_or(0);
            let cookie = Cookie::build(("visits", (visits + 1).to_string())).path("/").http_only(true);
            Response::text(visits.to_string()).with_cookie(cookie).with_cookie(("user", "J\u{fc}rgen; x"))
        })
        .get("/logout", async |_request: Request| Response::redirect("/").without_cookie("visits", "/"))
        .get("/built", async |_request: Request| {
            http::Response::builder().status(201).header("x-a", "1").header("x-a", "2").body("built").expect("valid")
        })
        .get("/private", async |_request: Request| -> Result { Err(Response::redirect("/login"))? })
        .get("/page", async |_request: Request| Response::html("<p>page</p>"));
    Server::builder(app).http(HttpConfig::default().limits(Limits::default().body_bytes_max(300_000)))
}

/// Lists the fields of a form: name, file, type, bytes.
async fn upload(mut request: Request) -> Result<String, Rejection> {
    let mut form = request.multipart()?;
    let mut list = String::new();
    while let Some(mut field) = form.next_field().await? {
        let about = format!("{:?} {:?} {:?}", field.name(), field.file_name(), field.content_type());
        let mut bytes = 0;
        while let Some(piece) = field.chunk().await? {
            bytes += piece.len();
        }
        list += &format!("{about} {bytes}\n");
    }
    Ok(list)
}

/// Lists the names of a form's fields, and reads the content of those named `text` only.
async fn names(mut request: Request) -> Result<String, Rejection> {
    let mut form = request.multipart()?;
    let mut list = String::new();
    while let Some(mut field) = form.next_field().await? {
        list += field.name().unwrap_or_default();
        if field.name() == Some("text") {
            list += &format!("={}", field.text_up_to(8).await?);
        }
        list.push(' ');
    }
    Ok(list)
}

fn post(address: SocketAddr, path: &str, content_type: &str, content: &str) -> Answer {
    ask(address, &format!("POST {path} HTTP/1.1\r\nContent-Type: {content_type}"), content.as_bytes())
}

fn get(address: SocketAddr, target: &str) -> Answer {
    ask(address, &format!("GET {target} HTTP/1.1"), b"")
}

#[test]
fn parameters_and_queries_are_typed() {
    on_each(server, |address| {
        assert_eq!(get(address, "/pages/7").content, "page 7");
        let refused = get(address, "/pages/seven");
        assert_eq!(refused.status, 400);
        assert_eq!(refused.content, "invalid path parameter number: invalid digit found in string\n");
        let order = get(address, "/orders?item=a+%26b%C3%A9&count=2&tag=x&tag=y&other=1");
        assert_eq!(order.content, r#"{"item":"a &bé","count":2,"tag":["x","y"]}"#);
        assert_eq!(get(address, "/orders?item=a").status, 400);
        assert_eq!(get(address, "/orders").status, 400);
    });
}

#[test]
fn json_is_refused_by_its_type_its_form_and_its_content() {
    on_each(server, |address| {
        let json = "application/json; charset=utf-8";
        let order = post(address, "/orders", json, r#"{"item":"a","count":2}"#);
        assert_eq!((order.status, order.content.as_str()), (200, r#"{"item":"a","count":2,"tag":[]}"#));
        assert_eq!(order.field("content-type"), Some("application/json"));
        for (content_type, content, status) in [
            ("application/order+json", r#"{"item":"a","count":2}"#, 200),
            ("text/plain", r#"{"item":"a","count":2}"#, 415),
            (json, r#"{"item":"a","count":-2}"#, 422),
            (json, r#"{"item":"a"}"#, 422),
            (json, r#"{"item":"a""#, 400),
            (json, r#"{"item":"a","count":2} x"#, 400),
            (json, "", 400),
        ] {
            assert_eq!(post(address, "/orders", content_type, content).status, status, "{content_type} {content}");
        }
        let head = "POST /orders HTTP/1.1";
        assert_eq!(ask(address, head, b"{}").status, 415, "no type");
    });
}

#[test]
fn urlencoded_forms_fill_a_type() {
    on_each(server, |address| {
        let form = "application/x-www-form-urlencoded";
        let order = post(address, "/form", form, "item=a+b&count=3&tag=%26");
        assert_eq!((order.status, order.content.as_str()), (200, r#"{"item":"a b","count":3,"tag":["&"]}"#));
        assert_eq!(post(address, "/form", form, "item=a").status, 422);
        assert_eq!(post(address, "/form", "application/json", "{}").status, 415);
    });
}

#[test]
fn multipart_forms_are_read_in_pieces() {
    let text = "a".repeat(20_000);
    let form = format!(
        "--b\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\nhello\r\n--b\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\n\
         {text}\r\n--c\r\n--b--\r\n"
    );
    on_each(server, |address| {
        let multipart = "multipart/form-data; boundary=b";
        let list = post(address, "/upload", multipart, &form);
        let expected = "Some(\"text\") None None 5\nSome(\"file\") Some(\"a.txt\") Some(\"text/plain\") 20005\n";
        assert_eq!((list.status, list.content.as_str()), (200, expected));
        assert_eq!(post(address, "/names", multipart, &form).content, "text=hello file ");
        assert_eq!(post(address, "/upload", multipart, "--b--\r\n").content, "");
    });
}

#[test]
fn malformed_multipart_forms_are_refused() {
    on_each(server, |address| {
        let multipart = "multipart/form-data; boundary=b";
        let field = "--b\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\n";
        let long_head = format!("--b\r\nX: {}\r\n\r\nhello\r\n--b--\r\n", "a".repeat(200_000));
        for (content_type, content, status) in [
            ("multipart/form-data", "--b--\r\n", 415),
            ("text/plain", "--b--\r\n", 415),
            (multipart, "", 400),
            (multipart, "no boundary", 400),
            (multipart, field, 400),
            (multipart, &format!("{field}hello"), 400),
            (multipart, &format!("{field}hello\r\n--b"), 400),
            (multipart, &format!("{field}nine char\r\n--b--\r\n"), 413),
            (multipart, "--b\r\nno colon\r\n\r\nhello\r\n--b--\r\n", 400),
        ] {
            assert_eq!(post(address, "/names", content_type, content).status, status, "{content_type} {content:?}");
        }
        // Too large to be sent byte by byte.
        let request = format!(
            "POST /names HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: {multipart}\r\n\
             Content-Length: {}\r\n\r\n{long_head}",
            long_head.len()
        );
        let refused = Answer::parse(&exchange(address, request.as_bytes()));
        assert_eq!(refused.content, "malformed content: the head of a field has more than 65536 bytes\n");
    });
}

#[test]
fn cookies_are_read_and_set() {
    on_each(server, |address| {
        let first = get(address, "/visits");
        assert_eq!(first.content, "0");
        let cookies: Vec<_> =
            first.fields.iter().filter(|field| field.0 == "set-cookie").map(|field| field.1.as_str()).collect();
        assert_eq!(cookies, ["visits=1; HttpOnly; Path=/", "user=J%C3%BCrgen%3B%20x"]);
        let head = "GET /visits HTTP/1.1\r\nCookie: a=b; visits=41\r\nCookie: =; visits=7";
        assert_eq!(ask(address, head, b"").content, "41");
        // Asked once: its date of expiry changes with the second.
        let request = b"GET /logout HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let removal = Answer::parse(&exchange(address, request));
        let field = removal.field("set-cookie").expect("a removal");
        assert!(field.starts_with("visits=; Path=/; Max-Age=0; Expires="), "{field}");
        assert_eq!((removal.status, removal.field("location")), (303, Some("/")));
    });
}

#[test]
fn responses_of_common_kinds() {
    on_each(server, |address| {
        let built = get(address, "/built");
        assert_eq!((built.status, built.content.as_str()), (201, "built"));
        assert!(built.fields.iter().filter(|field| field.0 == "x-a").map(|field| field.1.as_str()).eq(["1", "2"]));
        let private = get(address, "/private");
        assert_eq!((private.status, private.field("location")), (303, Some("/login")));
        assert_eq!(get(address, "/page").field("content-type"), Some("text/html; charset=utf-8"));
    });
}

#[test]
fn rejections_in_a_result_keep_their_status() {
    let rejection = Rejection::MediaType("application/json");
    assert_eq!(HandlerError::from(rejection.clone()).to_string(), rejection.to_string());
    for (rejection, status) in [
        (Rejection::MediaType("x"), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (Rejection::ParamMissing("x".into()), StatusCode::INTERNAL_SERVER_ERROR),
        (Rejection::Content("x".into()), StatusCode::UNPROCESSABLE_ENTITY),
        (Rejection::Body(tidegate_http::BodyError::TooLarge(1)), StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        assert_eq!(HandlerError::from(rejection.clone()).into_response().status(), status, "{rejection}");
        assert_eq!(rejection.into_response().status(), status);
    }
}

#[test]
fn a_value_without_json_form_is_answered_with_500() {
    assert_eq!(Response::json(&BTreeMap::from([((1, 2), 3)])).status(), 500);
}

#[test]
fn state_is_borrowed_by_every_handler() {
    struct App {
        name: String,
    }
    async fn name(app: &App, _request: Request) -> String {
        std::future::ready(()).await;
        app.name.clone()
    }
    let router = Router::new()
        .get("/plain", async |_request: Request| "plain")
        .with_state(App { name: "state".to_owned() })
        .get("/name", name)
        .post("/name", async |app: &App, mut request: Request| -> Result<String> {
            Ok(format!("{} {}", app.name, request.text().await?))
        })
        .fallback(async |app: &App, _request: Request| (StatusCode::NOT_FOUND, app.name.clone()));
    assert_eq!(router.state().name, "state");
    let router = Router::new().nest("/in", router.into_router());
    let ask = |method: &str, target: &str| {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n");
        let request = Request::parse(head.as_bytes(), "text").expect("valid");
        let response = block_on(tidegate_http::Handler::handle(&router, request).response());
        let tidegate_http::ResponseBody::Bytes(bytes) = response.body() else { panic!("bytes") };
        format!("{} {}", response.status().as_u16(), String::from_utf8_lossy(bytes))
    };
    assert_eq!(ask("GET", "/in/plain"), "200 plain");
    assert_eq!(ask("GET", "/in/name"), "200 state");
    assert_eq!(ask("POST", "/in/name"), "200 state text");
    assert_eq!(ask("GET", "/in/nothing"), "404 state");
}
