//! A span for each call to another server that a recorded request makes, and word of it to the other (`traceparent`).

use opentelemetry::KeyValue;
use opentelemetry::propagation::{Injector, TextMapPropagator as _};
use opentelemetry::trace::{Span as _, SpanBuilder, Status, TraceContextExt as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{RequestBuilder, Response};

use super::{Parent, answered};

/// Sends a request to another server. The span names its host alone: the rest of an address may be secret.
///
/// # Errors
/// As without traces.
pub(crate) async fn send(request: RequestBuilder) -> reqwest::Result<Response> {
    let Some(parent) = Parent::current() else { return request.send().await };
    let (client, request) = request.build_split();
    let mut request = request?;
    let method = request.method().to_string();
    let mut attributes = vec![KeyValue::new("http.request.method", method.clone())];
    attributes.extend(request.url().host_str().map(|host| KeyValue::new("server.address", host.to_owned())));
    attributes.extend(request.url().port_or_known_default().map(|port| KeyValue::new("server.port", i64::from(port))));
    let mut span = parent.begin(SpanBuilder::from_name(method).with_attributes(attributes));
    let context = parent.context.with_remote_span_context(span.span_context().clone());
    TraceContextPropagator::new().inject_context(&context, &mut Called(request.headers_mut()));
    let response = client.execute(request).await;
    match &response {
        Ok(response) => answered(&mut span, response.status(), response.status().as_u16() >= 400),
        Err(error) => {
            let kind = if error.is_timeout() { "timeout" } else { "_OTHER" };
            span.set_attribute(KeyValue::new("error.type", kind));
            span.set_status(Status::error(""));
        }
    }
    response
}

/// What the other is told; an empty `tracestate` says nothing.
struct Called<'a>(&'a mut HeaderMap);

impl Injector for Called<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (key.parse::<HeaderName>(), HeaderValue::try_from(value))
            && !value.is_empty()
        {
            self.0.insert(name, value);
        }
    }
}
