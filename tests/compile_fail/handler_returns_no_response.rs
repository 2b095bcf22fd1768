//! An error is a response only as a `web::HandlerError`, which `web::Result` has.
use std::num::ParseIntError;

use tidegate::prelude::*;

async fn double(request: Request) -> Result<String, ParseIntError> {
    let number: u32 = request.param("number").unwrap_or_default().parse()?;
    Ok((2 * number).to_string())
}

fn main() {
    let _ = Router::new().get("/double/:number", double);
}
