//! An upload that is written to a file as it arrives, and read back as a stream.

use std::path::PathBuf;
use std::pin::pin;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::TryStreamExt;
use tokio::fs::File;
use tokio::io::BufWriter;
use tokio_util::io::{ReaderStream, StreamReader};

/// Keeps the files in `folder`.
pub fn app(folder: PathBuf) -> Router {
    Router::new().route("/file/{file_name}", post(save).get(load)).with_state(folder)
}

async fn save(
    State(folder): State<PathBuf>,
    Path(name): Path<String>,
    request: Request,
) -> Result<String, (StatusCode, String)> {
    let write = async {
        let stream = request.into_body().into_data_stream().map_err(std::io::Error::other);
        let mut reader = pin!(StreamReader::new(stream));
        let mut file = BufWriter::new(File::create(folder.join(name)).await?);
        let copied = tokio::io::copy(&mut reader, &mut file).await?;
        tokio::io::AsyncWriteExt::flush(&mut file).await?;
        Ok::<_, std::io::Error>(copied)
    };
    let copied = write.await.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(format!("{copied} bytes"))
}

async fn load(State(folder): State<PathBuf>, Path(name): Path<String>) -> Result<Response, StatusCode> {
    let file = File::open(folder.join(name)).await.map_err(|_| StatusCode::NOT_FOUND)?;
    Ok(Body::from_stream(ReaderStream::new(file)).into_response())
}
