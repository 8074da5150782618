//! Traces for who collects them by OTLP (`OTLP_ENDPOINT`); without it nothing here runs.
//!
//! A request's span begins and ends in `http::identify`, which knows its route and its status. Below it are the
//! statements that it made ([`statements`]) and its calls to others ([`calls`]): these find it at the `tracing` span of
//! the request, which follows a request into all its tasks already, so that no handler knows of traces. Spans are handed
//! to a queue that drops what it cannot hold, and a thread sends them ([`collector`]); no request ever waits for it.
//!
//! What a span says is for the operator and leaves the house: templates and numbers, never a query, a header, a body, a
//! value of a statement, or who it was.

mod calls;
mod collector;
mod statements;

use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode};
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanKind, Status, TraceContextExt as _, TraceId, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, Span};
use tracing_subscriber::Registry;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

pub(crate) use calls::send;
pub(crate) use statements::layer;

use crate::config::Config;

/// Spans that wait to be sent; further ones are dropped.
const QUEUE: usize = 2048;
/// Spans that are sent at once, and how long fewer are waited with.
const BATCH: usize = 512;
const DELAY: Duration = Duration::from_secs(5);
/// How long a stop waits for the collector.
const PATIENCE: Duration = Duration::from_secs(2);

/// Records the spans of this process.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// The span of a request that is recorded. It ends with the answer, or when the request is given up.
#[derive(Debug)]
pub struct Traced {
    span: Span,
    tracer: SdkTracer,
}

/// What spans below another need of it; kept at the `tracing` span of the request.
#[derive(Debug, Clone)]
struct Parent {
    tracer: SdkTracer,
    context: Context,
}

impl Traces {
    /// What the settings ask for.
    ///
    /// # Errors
    /// When there can be no client for the collector.
    pub fn of(config: &Config) -> anyhow::Result<Option<Self>> {
        let Some(otlp) = &config.otlp else { return Ok(None) };
        let resource = Resource::builder_empty().with_attributes([
            KeyValue::new("service.name", "swincms"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", uuid::Uuid::new_v4().to_string()),
        ]);
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let provider = SdkTracerProvider::builder()
            .with_resource(resource.build())
            // A caller that has decided is followed, so that no trace has holes.
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(otlp.sample))))
            .with_span_processor(BatchSpanProcessor::new(collector::Collector::new(otlp)?, batches))
            .build();
        Ok(Some(Self { tracer: provider.tracer("swincms"), provider }))
    }

    /// Begins the span of a request, below the caller's (`traceparent`) if it has one; none when it is not recorded.
    ///
    /// `route` is the template of the route, if one has the request's path.
    #[must_use]
    pub fn begin(&self, request: &Request, route: Option<&str>, is_https: bool) -> Option<Traced> {
        let caller = TraceContextPropagator::new().extract_with_context(&Context::new(), &Caller(request.headers()));
        let mut span = self.tracer.build_with_context(SpanBuilder::from_name("").with_kind(SpanKind::Server), &caller);
        if !span.is_recording() {
            return None;
        }
        let method = method(request.method());
        span.set_attribute(KeyValue::new("http.request.method", method.unwrap_or("_OTHER")));
        span.set_attribute(KeyValue::new("url.scheme", if is_https { "https" } else { "http" }));
        let method = method.unwrap_or("HTTP");
        match route {
            Some(route) => {
                span.update_name(format!("{method} {route}"));
                span.set_attribute(KeyValue::new("http.route", route.to_owned()));
                span.set_attribute(KeyValue::new("url.path", plain_path(route, request.uri().path())));
            }
            // Such a path can hold anything.
            None => span.update_name(method),
        }
        Some(Traced { span, tracer: self.tracer.clone() })
    }

    /// Sends what is left, if the collector takes it in time; spans that end later are dropped.
    pub async fn stop(&self) {
        let provider = self.provider.clone();
        let stopped = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(PATIENCE)).await;
        if !matches!(stopped, Ok(Ok(()))) {
            tracing::warn!("the last traces could not be sent");
        }
    }
}

impl Traced {
    /// The trace that it is part of.
    #[must_use]
    pub fn trace_id(&self) -> TraceId {
        self.span.span_context().trace_id()
    }

    /// From now on statements and calls within the `tracing` span are below this one.
    pub fn belongs_to(&self, span: &tracing::Span) {
        let context = Context::new().with_remote_span_context(self.span.span_context().clone());
        let parent = Parent { tracer: self.tracer.clone(), context };
        span.with_subscriber(|(id, dispatch)| {
            let registry = dispatch.downcast_ref::<Registry>();
            if let Some(span) = registry.and_then(|registry| registry.span(id)) {
                span.extensions_mut().replace(parent);
            }
        });
    }

    /// The request has been answered.
    pub fn end(mut self, status: StatusCode) {
        answered(&mut self.span, status, status.is_server_error());
    }
}

impl Parent {
    /// That of the request which a `tracing` span belongs to, if it is recorded.
    fn of<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>) -> Option<Self> {
        span.scope().find_map(|span| span.extensions().get::<Self>().cloned())
    }

    /// That of the request which is being answered here.
    fn current() -> Option<Self> {
        let found = tracing::Span::current().with_subscriber(|(id, dispatch)| {
            let span = dispatch.downcast_ref::<Registry>()?.span(id)?;
            Self::of(&span)
        });
        found.flatten()
    }

    /// Begins a span below it.
    fn begin(&self, span: SpanBuilder) -> Span {
        self.tracer.build_with_context(span.with_kind(SpanKind::Client), &self.context)
    }
}

/// Notes a status, and whether it was a failure.
fn answered(span: &mut Span, status: StatusCode, failed: bool) {
    span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
    if failed {
        span.set_attribute(KeyValue::new("error.type", status.as_str().to_owned()));
        span.set_status(Status::error(""));
    }
}

/// A method that HTTP knows; clients make up others.
fn method(method: &Method) -> Option<&'static str> {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    known.into_iter().find(|known| *known == method.as_str())
}

/// A path in which only numbers stand for parameters: others may be tokens, or say who somebody is.
fn plain_path(route: &str, path: &str) -> String {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts = route.split('/').zip(path.split('/').chain(std::iter::repeat("")));
    let parts = parts.map(|(template, given)| if is_number(given) { given } else { template });
    parts.collect::<Vec<_>>().join("/")
}

/// What a caller says of its own span. `tracestate` is left out: it is long, and anybody's.
struct Caller<'a>(&'a HeaderMap);

impl Extractor for Caller<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).filter(|_| key == "traceparent")?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent"]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_path_only_numbers_are_told() {
        for (route, path, told) in [
            ("/api/academic/units/{id}/", "/api/academic/units/42/", "/api/academic/units/42/"),
            ("/api/academic/units/{id}/", "/api/academic/units/42", "/api/academic/units/42/"),
            ("/reset/{token}", "/reset/abc-secret", "/reset/{token}"),
            ("/media/{name}", "/media/ada@example.edu", "/media/{name}"),
            ("/health/live", "/health/live", "/health/live"),
        ] {
            assert_eq!(plain_path(route, path), told);
        }
    }
}
