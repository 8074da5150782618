//! The few pages that the server shows to a browser itself. They stand on the origin of the app, so no script runs in them
//! but those that they come with.

use aws_lc_rs::digest;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use super::describe::{Answers, Notes, Schemas};
use super::problem::{Answer, Problem};

/// A page of ours.
pub struct Page(Response);

impl Page {
    /// A page that comes with its scripts and styles inline, and whose address may hold a secret: it goes to nobody, and no
    /// cache keeps it.
    ///
    /// # Errors
    /// 500 when its policy cannot be written.
    pub fn secret(html: &'static str) -> Answer<Self> {
        let policy = format!(
            "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; \
             form-action 'none'",
            hashes(html, "script"),
            hashes(html, "style")
        );
        let mut response = ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::try_from(policy).map_err(Problem::internal)?);
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(Self(response))
    }

    /// An answer that is made already.
    pub fn of(response: Response) -> Self {
        Self(response)
    }
}

/// What a policy calls the elements of this name that stand in the page: by the digest of what they say.
fn hashes(html: &str, element: &str) -> String {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let inside = html.split(open.as_str()).skip(1).filter_map(|rest| rest.split_once(close.as_str()));
    let hash = |text: &str| BASE64_STANDARD.encode(digest::digest(&digest::SHA256, text.as_bytes()));
    let named: Vec<String> = inside.map(|(text, _)| format!("'sha256-{}'", hash(text))).collect();
    if named.is_empty() { "'none'".to_owned() } else { named.join(" ") }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        self.0
    }
}

impl Answers for Page {
    fn describe(notes: &mut Notes, _: &mut Schemas) {
        notes.answers(200, "The page.", "text/html", Some(json!({ "type": "string" })));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_named_by_their_digests() {
        // The example of the specification.
        let html = "<script>alert('Hello, world.');</script>";
        assert_eq!(hashes(html, "script"), "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='");
        assert_eq!(hashes(html, "style"), "'none'");
    }
}
