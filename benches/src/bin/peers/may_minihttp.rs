//! may_minihttp: HTTP on stackful coroutines, with the settings of its benchmark example.

use std::io;
use std::net::SocketAddr;

use ::may_minihttp::{HttpServer, HttpService, Request, Response};

use crate::{HELLO, Outcome};

/// Coroutines kept for later connections, as in its benchmark example.
const POOL_COROUTINES: usize = 500;

/// Stack size of a coroutine, in words, as in its benchmark example.
const STACK_WORDS: usize = 0x1000;

#[derive(Clone)]
struct Plaintext;

impl HttpService for Plaintext {
    fn call(&mut self, request: Request, response: &mut Response) -> io::Result<()> {
        if request.path() == "/plaintext" {
            response.header("Content-Type: text/plain").body(HELLO);
        } else {
            response.status_code(404, "Not Found");
        }
        Ok(())
    }
}

pub fn serve(address: SocketAddr) -> Outcome {
    may::config().set_workers(1).set_pool_capacity(POOL_COROUTINES).set_stack_size(STACK_WORDS);
    HttpServer(Plaintext).start(address)?.join().map_err(|_| "its accepting coroutine panicked")?;
    Ok(())
}
