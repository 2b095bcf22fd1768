//! Applications under `web::testing` and `websocket::testing`: in memory, by a clock that the test moves. No test here
//! opens a socket or waits for time to pass.

mod flow;
mod http;
mod time;
mod websocket;
