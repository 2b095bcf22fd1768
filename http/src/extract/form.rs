//! Urlencoded forms.

use serde::de::DeserializeOwned;

use crate::extract::media_type::media_type;
use crate::extract::rejection::Rejection;
use crate::message::request::Request;

const FORM: &str = "application/x-www-form-urlencoded";

/// # Forms
impl Request {
    /// Reads the rest of the content as an urlencoded HTML form, up to the same limit as [`bytes`](Request::bytes).
    /// Types are filled as by [`query_as`](crate::RequestHead::query_as).
    ///
    /// ```
    /// use serde::Deserialize;
    /// use tidegate_http::{Rejection, Request};
    ///
    /// #[derive(Deserialize)]
    /// struct Login {
    ///     name: String,
    ///     password: String,
    /// }
    ///
    /// async fn login(mut request: Request) -> Result<String, Rejection> {
    ///     let login: Login = request.form().await?;
    ///     Ok(format!("{} has a password of {} bytes", login.name, login.password.len()))
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Rejection::MediaType`] (415) unless Content-Type is `application/x-www-form-urlencoded`,
    /// [`Rejection::Content`] (422) for a form that does not fit the type, and [`Rejection::Body`].
    pub async fn form<T: DeserializeOwned>(&mut self) -> Result<T, Rejection> {
        if !media_type(self).eq_ignore_ascii_case(FORM) {
            return Err(Rejection::MediaType(FORM));
        }
        let content = self.bytes().await?;
        serde_html_form::from_bytes(&content).map_err(|error| Rejection::Content(error.to_string()))
    }
}
