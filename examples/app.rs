//! An application with a bit of everything: login with a cookie, REST with JSON over SQLite, a page, an event stream, a
//! WebSocket room, metrics. Its tests are in `notes/tests.rs`.
//!
//! ```text
//! cargo run --release --example app -- --addr 127.0.0.1:9001 --db notes.db
//! open http://127.0.0.1:9001/          # log in with any name and the password tide
//! ```

mod support {
    pub mod options;
    pub mod server;
}
#[cfg(test)]
mod notes {
    mod tests;
}

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use support::server;
use tidegate::http::StatusCode;
use tidegate::prelude::*;
use tidegate::web::cookie::{Cookie, SameSite};
use tidegate::web::{RequestHead, status_handler};

struct App {
    db: Mutex<Connection>, // its queries take microseconds; for slower ones use sqlx
    hub: Hub,              // of event streams, in "notes", and WebSockets, in "room"
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Note {
    id: i64,
    author: String,
    text: String,
}

#[derive(Deserialize)]
struct Login {
    name: String,
    password: String,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = server::options("Serves notes and a room to talk.", &[("--db FILE", ":memory:", "SQLite database")]);
    let app = Arc::new(App::open(&options.value::<String>("--db"))?);
    let server = Server::builder(routes(app)).bind(options.value::<String>("--addr"))?;
    let running = server.engine(options.value("--engine")).start()?;
    println!("listening on {}", running.summary());
    running.run_until_signal(Shutdown::default())?;
    Ok(())
}

fn routes(app: Arc<App>) -> Router {
    let (talk, guard, status) = (Arc::clone(&app), Arc::clone(&app), Arc::clone(&app));
    let room = websocket::upgrade(async move |ws| room(&talk, ws).await)
        .authorize(async move |head: &RequestHead| guard.user(head)); // 401 before the 101
    Router::new()
        .get("/", sync_handler(|_request| Response::html(include_str!("notes/index.html"))))
        .get("/metrics", status_handler("text/plain; version=0.0.4", move || status.metrics()))
        .get("/room", room)
        .with_state(app)
        .post("/login", login)
        .get("/notes", list)
        .post("/notes", create)
        .delete("/notes/{id}", delete)
        .get("/events", events)
        .into_router()
}

async fn login(app: &App, mut request: Request) -> web::Result {
    let login: Login = request.form().await?;
    if login.password != "tide" {
        return Ok((StatusCode::FORBIDDEN, "wrong password\n").into_response());
    }
    let insert = "INSERT INTO sessions VALUES (lower(hex(randomblob(16))), ?1) RETURNING token";
    let token: String = app.db().query_row(insert, [login.name], |row| row.get(0))?; // 500, and logged
    let session = Cookie::build(("session", token)).path("/").http_only(true).same_site(SameSite::Lax);
    Ok(Response::redirect("/").with_cookie(session))
}

async fn list(app: &App, _request: Request) -> web::Result {
    let db = app.db();
    let mut query = db.prepare_cached("SELECT id, author, text FROM notes ORDER BY id")?;
    let notes = query.query_map([], |row| Ok(Note { id: row.get(0)?, author: row.get(1)?, text: row.get(2)? }))?;
    Ok(Response::json(&notes.collect::<Result<Vec<_>, _>>()?))
}

async fn create(app: &App, mut request: Request) -> web::Result {
    let author = app.user(&request)?; // 401 unless logged in
    let text: String = request.json().await?; // 400, 415 or 422 unless it is one
    let insert = "INSERT INTO notes (author, text) VALUES (?1, ?2) RETURNING id";
    let id = app.db().query_row(insert, [&author, &text], |row| row.get(0))?;
    let note = Note { id, author, text };
    app.hub.publish("notes", serde_json::to_string(&note)?).queue().await?;
    Ok(Response::json(&note).with_status(StatusCode::CREATED))
}

async fn delete(app: &App, request: Request) -> web::Result {
    let (id, author) = (request.param_as::<i64>("id")?, app.user(&request)?);
    let deleted = app.db().execute("DELETE FROM notes WHERE id = ?1 AND author = ?2", (id, author))?;
    Ok(Response::new(if deleted == 1 { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }))
}

async fn events(app: &App, _request: Request) -> Response {
    let hub = app.hub.clone();
    Response::sse(async move |events| {
        let member = hub.register_events(&events.sender()?)?;
        member.join("notes")?;
        events.draining().await; // the hub sends; this ends with the client or the server
        Ok(())
    })
}

async fn room(app: &App, mut ws: WebSocket) -> websocket::Result {
    let name = ws.extension::<String>().unwrap_or_default(); // what `authorize` returned
    let member = app.hub.register(&ws)?;
    member.join("room")?;
    while let Some(message) = ws.recv().await? {
        app.hub.publish("room", format!("{name}: {}", message.as_text().unwrap_or("?"))).queue().await?;
    }
    Ok(())
}

impl App {
    fn open(path: &str) -> rusqlite::Result<Self> {
        let db = Connection::open(path)?;
        db.execute_batch(include_str!("notes/schema.sql"))?;
        Ok(Self { db: Mutex::new(db), hub: Hub::default() })
    }

    fn db(&self) -> MutexGuard<'_, Connection> {
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the user who is logged in, or the answer for a stranger.
    fn user(&self, head: &RequestHead) -> Result<String, Response> {
        let (query, token) = ("SELECT name FROM sessions WHERE token = ?1", head.cookie("session"));
        let name = self.db().query_row(query, [token], |row| row.get(0));
        name.map_err(|_| (StatusCode::UNAUTHORIZED, "log in first\n").into_response())
    }

    fn metrics(&self) -> String {
        let notes: i64 = self.db().query_row("SELECT count(*) FROM notes", [], |row| row.get(0)).unwrap_or_default();
        format!("# TYPE app_notes gauge\napp_notes {notes}\n# TYPE app_members gauge\napp_members {}\n", self.hub.len())
    }
}
