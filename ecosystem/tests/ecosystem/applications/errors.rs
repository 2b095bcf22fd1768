//! Errors of applications and extractors, and the routes for those with a token.

use serde_json::{Value, json};
use tidegate_ecosystem::apps;

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn anyhow_errors() {
    on_every_server(apps::anyhow_errors::app, async |site| {
        let text = "Something went wrong: invalid digit found in string";
        assert_eq!(get(site.url("/")).await, (500, text.into()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn error_handling() {
    on_every_server(apps::error_handling::app, async |site| {
        let post = |value: Value| client().post(site.url("/users")).json(&value).send();
        let created = post(json!({ "name": "ann" })).await.unwrap();
        assert_eq!(created.text().await.unwrap(), r#"{"name":"ann"}"#);
        let taken = post(json!({ "name": "taken" })).await.unwrap();
        assert_eq!((taken.status().as_u16(), &taken.headers()["x-error"]), (409, &"name taken".parse().unwrap()));
        let wrong = post(json!({ "name": 1 })).await.unwrap();
        assert_eq!(wrong.status(), 422);
        assert!(wrong.text().await.unwrap().contains("invalid type: integer"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn custom_extractor_error() {
    on_every_server(apps::custom_extractor_error::app, async |site| {
        let request = client().post(site.url("/custom")).header("content-type", "application/json");
        let response = request.body("{").send().await.unwrap();
        assert_eq!(response.status(), 400);
        let error: Value = response.json().await.unwrap();
        assert_eq!(error["path"], "/custom");
        let good = client().post(site.url("/custom")).json(&[1]).send().await.unwrap();
        assert_eq!(good.text().await.unwrap(), r#"{"got":[1]}"#);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn custom_path_rejection() {
    on_every_server(apps::custom_path_rejection::app, async |site| {
        assert_eq!(get(site.url("/users/1/teams/2")).await, (200, r#"{"team_id":2,"user_id":1}"#.into()));
        assert_eq!(get(site.url("/users/x/teams/2")).await, (400, r#"{"location":"user_id","value":"x"}"#.into()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn validator() {
    on_every_server(apps::validator::app, async |site| {
        assert_eq!(get(site.url("/?name=LT")).await, (200, "<h1>Hello, LT!</h1>".into()));
        assert_eq!(get(site.url("/?name=")).await, (400, "Can not be empty".into()));
        assert_eq!(get(site.url("/")).await.0, 400);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn token_auth() {
    on_every_server(apps::token_auth::app, async |site| {
        assert_eq!(get(site.url("/protected")).await.0, 401);
        let credentials = json!({ "client_id": "foo", "client_secret": "bar" });
        let answer = client().post(site.url("/authorize")).json(&credentials).send().await.unwrap();
        let token = answer.json::<Value>().await.unwrap()["access_token"].as_str().unwrap().to_owned();
        let request = client().get(site.url("/protected")).bearer_auth(token);
        assert_eq!(request.send().await.unwrap().text().await.unwrap(), "Welcome to the protected area, foo");
        let credentials = json!({ "client_id": "foo", "client_secret": "x" });
        let refused = client().post(site.url("/authorize")).json(&credentials).send().await.unwrap();
        assert_eq!(refused.status(), 401);
    })
    .await;
}
