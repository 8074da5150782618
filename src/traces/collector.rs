//! The way to the collector: OTLP over HTTP, with the client that all calls of the server use.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::header::CONTENT_TYPE;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use prost::Message as _;
use reqwest::{Client, RequestBuilder};
use tokio::runtime::Handle;

use crate::config::Otlp;

/// How long the collector may take; meanwhile the queue fills, and then drops.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who is sent the spans.
#[derive(Debug)]
pub(super) struct Collector {
    client: Client,
    url: String,
    resource: ResourceAttributesWithSchema,
    /// The SDK's thread has no runtime of its own.
    runtime: Handle,
    /// Whether the last batch was lost, so that only the first is told.
    is_failing: AtomicBool,
}

impl Collector {
    pub(super) fn new(otlp: &Otlp) -> anyhow::Result<Self> {
        let client = Client::builder()
            .user_agent(concat!("swincms/", env!("CARGO_PKG_VERSION")))
            .default_headers(otlp.headers.clone())
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(PATIENCE)
            .build()?;
        Ok(Self {
            client,
            url: otlp.url.clone(),
            resource: ResourceAttributesWithSchema::default(),
            runtime: Handle::try_current()?,
            is_failing: AtomicBool::new(false),
        })
    }
}

impl SpanExporter for Collector {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        let request = self.client.post(&self.url).header(CONTENT_TYPE, "application/x-protobuf").body(body);
        // The runtime has ended, and with it the server.
        let Ok(taken) = self.runtime.spawn(send(request)).await else { return Err(OTelSdkError::AlreadyShutdown) };
        let failed_before = self.is_failing.swap(taken.is_err(), Ordering::Relaxed);
        match &taken {
            Err(says) if !failed_before => {
                tracing::warn!(%says, "traces cannot be sent, and are dropped until the collector takes them");
            }
            Ok(()) if failed_before => tracing::info!("traces are sent again"),
            Ok(()) | Err(_) => {}
        }
        taken.map_err(OTelSdkError::InternalFailure)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.into();
    }
}

async fn send(request: RequestBuilder) -> Result<(), String> {
    // The address is the operator's to know.
    let told = |error: reqwest::Error| format!("{:#}", anyhow::Error::new(error.without_url()));
    let mut response = request.send().await.map_err(told)?;
    let status = response.status();
    // Read to its end, which keeps the connection for the next batch.
    while response.chunk().await.map_err(told)?.is_some() {}
    if status.is_success() { Ok(()) } else { Err(format!("the collector answered {}", status.as_u16())) }
}
