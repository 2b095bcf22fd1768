use tidegate::prelude::*;
use tidegate::web::tower::service;

fn main() {
    let _app = Router::new().get("/", service(|_request: Request| "Hello"));
}
