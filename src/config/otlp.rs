//! Where traces go, if they go anywhere.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use secrecy::ExposeSecret as _;

use super::reader::{Reader, has_scheme, is_loopback};

/// Where traces go.
#[derive(Debug, Clone)]
pub struct Otlp {
    /// `OTLP_ENDPOINT`, down to the path that takes spans.
    pub url: String,
    /// `OTLP_SAMPLE`: the share of the requests that is recorded, from 0 to 1.
    pub sample: f64,
    /// `OTLP_HEADERS`, which may be secret and are marked so.
    pub headers: HeaderMap,
}

impl Otlp {
    /// Whether others on the way can read what is sent.
    #[must_use]
    pub fn is_in_the_clear(&self) -> bool {
        let url = self.url.parse::<Uri>().ok();
        !has_scheme(&self.url, "https") && !url.as_ref().and_then(Uri::host).is_some_and(is_loopback)
    }
}

impl Reader<'_> {
    pub(super) fn otlp(&mut self) -> Option<Otlp> {
        const NAME: &str = "OTLP_ENDPOINT";
        let (sample, headers) = (self.share("OTLP_SAMPLE", 1.0), self.headers("OTLP_HEADERS"));
        let endpoint = self.url(NAME)?;
        if endpoint.contains(['?', '#', '@']) {
            self.fault(NAME, "must have no user, query or fragment; credentials belong into OTLP_HEADERS");
        }
        let base = endpoint.trim_end_matches('/').trim_end_matches("/v1/traces");
        let otlp = Otlp { url: format!("{base}/v1/traces"), sample, headers };
        if self.prod && !otlp.headers.is_empty() && otlp.is_in_the_clear() {
            self.fault(NAME, "is not https, so OTLP_HEADERS would travel in the clear; use an https address");
        }
        Some(otlp)
    }

    fn share(&mut self, name: &str, default: f64) -> f64 {
        match self.text(name).map(|text| text.parse()) {
            None => default,
            Some(Ok(share)) if (0.0..=1.0).contains(&share) => share,
            Some(Ok(_) | Err(_)) => {
                self.fault(name, "must be a number from 0 to 1, such as 0.1");
                default
            }
        }
    }

    fn headers(&mut self, name: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let Some(text) = self.secret(name) else { return headers };
        for pair in text.expose_secret().split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let header = pair.split_once('=').and_then(|(name, value)| {
                let mut value = HeaderValue::from_str(value.trim()).ok()?;
                value.set_sensitive(true);
                Some((name.trim().parse::<HeaderName>().ok()?, value))
            });
            match header {
                Some((name, value)) => _ = headers.insert(name, value),
                None => self.fault(name, "must be Name=value with commas between, such as Authorization=Bearer …"),
            }
        }
        headers
    }
}
