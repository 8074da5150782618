//! Traces, as a collector gets them from a real server process.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::response::IntoResponse;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Told;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::{Value, json};
use sqlx::ConnectOptions;

use crate::log::Server;
use crate::support::receiver::Receiver;
use crate::support::{PASSWORD, Proxy, TestApp};
use crate::workflows::{OPEN, WORKFLOWS, workflow};

const SERVER: i32 = 2;
const CLIENT: i32 = 3;
const FAILED: i32 = 2;

/// The requests that a collector was sent.
fn exports(collector: &Receiver) -> Vec<ExportTraceServiceRequest> {
    let sent = collector.sent();
    let decoded = sent.iter().map(|sent| {
        assert_eq!((sent.method.as_str(), sent.path.as_str()), ("POST", "/v1/traces"));
        assert_eq!(sent.header("content-type"), "application/x-protobuf");
        ExportTraceServiceRequest::decode(sent.body.clone()).unwrap()
    });
    decoded.collect()
}

fn spans(collector: &Receiver) -> Vec<Span> {
    let resources = exports(collector).into_iter().flat_map(|export| export.resource_spans);
    resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
}

/// The only span of this name.
#[track_caller]
fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found: Vec<&Span> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "{name} in {:?}", spans.iter().map(|span| &span.name).collect::<Vec<_>>());
    found[0]
}

fn told(attributes: &[KeyValue]) -> BTreeMap<&str, Value> {
    let value = |attribute: &KeyValue| match attribute.value.as_ref().unwrap().value.as_ref().unwrap() {
        Told::StringValue(text) => json!(text),
        Told::IntValue(number) => json!(number),
        other @ (Told::BoolValue(_)
        | Told::DoubleValue(_)
        | Told::ArrayValue(_)
        | Told::KvlistValue(_)
        | Told::BytesValue(_)
        | Told::StringValueStrindex(_)) => panic!("{other:?}"),
    };
    attributes.iter().map(|attribute| (attribute.key.as_str(), value(attribute))).collect()
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn failed(span: &Span) -> bool {
    span.status.as_ref().unwrap().code == FAILED
}

/// A server whose traces go to this collector.
async fn traced(app: &TestApp, collector: &Receiver, settings: &[(&str, &str)]) -> Server {
    let url = collector.url("");
    Server::start(app, &[&[("OTLP_ENDPOINT", url.as_str())], settings].concat()).await
}

async fn get(server: &Server, path: &str, headers: &[(&'static str, &str)]) -> u16 {
    let mut request = reqwest::Client::new().get(format!("{}{path}", server.base));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap().status().as_u16()
}

/// Logs in at this server and gives the value of `Authorization`.
async fn log_in(server: &Server, email: &str) -> String {
    let request = reqwest::Client::new().post(format!("{}/api/token/", server.base));
    let reply = request.json(&json!({ "email": email, "password": PASSWORD })).send().await.unwrap();
    assert_eq!(reply.status(), 200);
    let tokens: Value = reply.json().await.unwrap();
    format!("Bearer {}", tokens["access"].as_str().unwrap())
}

#[tokio::test]
async fn a_request_leaves_a_span_with_its_route_and_status_and_below_it_its_statements() {
    let (app, collector) = (TestApp::start().await, Receiver::start().await);
    let (staff, course) = (app.staff().await, app.course().await);
    let mut server = traced(&app, &collector, &[]).await;
    let token = log_in(&server, &staff.email).await;
    let headers = [("authorization", token.as_str())];
    // As with the final slash.
    assert_eq!(get(&server, &format!("/api/academic/courses/{course}"), &headers).await, 200);
    let line = server.until(|line| line["message"] == "answered" && line["span"]["method"] == "GET").await;
    assert_eq!(get(&server, "/made/up/ada@example.edu", &headers).await, 404);
    server.stop().await;

    let spans = spans(&collector);
    let request = named(&spans, "GET /api/academic/courses/{id}/");
    assert_eq!((request.kind, request.parent_span_id.len(), failed(request)), (SERVER, 0, false));
    let expected = json!({
        "http.request.method": "GET",
        "http.route": "/api/academic/courses/{id}/",
        "http.response.status_code": 200,
        "url.path": format!("/api/academic/courses/{course}/"),
        "url.scheme": "http",
    });
    assert_eq!(json!(told(&request.attributes)), expected);
    assert_eq!(line["span"]["trace_id"], hex(&request.trace_id));

    let below: Vec<&Span> = spans.iter().filter(|span| span.parent_span_id == request.span_id).collect();
    assert!(below.iter().any(|span| span.name == "select courses"), "{below:#?}");
    for statement in below {
        assert_eq!((statement.kind, &statement.trace_id), (CLIENT, &request.trace_id));
        assert!(statement.start_time_unix_nano >= request.start_time_unix_nano);
        assert!(statement.end_time_unix_nano <= request.end_time_unix_nano);
        let told = told(&statement.attributes);
        assert_eq!(told["db.system.name"], "postgresql");
        assert!(told["db.query.text"].as_str().unwrap().starts_with("select"));
        assert!(told["db.response.returned_rows"].is_i64());
    }
    // What runs beside the requests is no part of them, and nothing else stands alone.
    assert!(spans.iter().all(|span| !span.parent_span_id.is_empty() || span.kind == SERVER));
    let unknown = told(&named(&spans, "GET").attributes);
    assert_eq!((unknown.get("http.route"), unknown.get("url.path")), (None, None));
    assert_eq!((&unknown["http.response.status_code"], failed(named(&spans, "GET"))), (&json!(404), false));

    let export = &exports(&collector)[0].resource_spans[0];
    let resource = told(&export.resource.as_ref().unwrap().attributes);
    assert_eq!(resource["service.name"], "swincms");
    assert_eq!(resource["service.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((resource["service.instance.id"].as_str().unwrap().len(), resource.len()), (36, 3));
}

#[tokio::test]
async fn the_level_of_the_log_takes_nothing_from_the_traces() {
    let (app, collector) = (TestApp::start().await, Receiver::start().await);
    // The test waits for two lines of the start.
    let server = traced(&app, &collector, &[("LOG_LEVEL", "off,swincms::cli=info")]).await;
    let email = app.student().await.email;
    log_in(&server, &email).await;
    let lines = server.stop().await;
    assert!(lines.iter().all(|line| line["span"].is_null()), "{lines:?}");
    let spans = spans(&collector);
    let request = named(&spans, "POST /api/token/");
    assert!(spans.iter().any(|span| span.parent_span_id == request.span_id && span.name == "insert sessions"));
}

#[tokio::test]
async fn the_trace_of_a_caller_goes_on_and_its_choice_is_kept() {
    let (app, collector) = (TestApp::start().await, Receiver::start().await);
    let server = traced(&app, &collector, &[("OTLP_SAMPLE", "0")]).await;
    let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    for (path, traceparent) in [
        ("/health/live", format!("00-{trace}-{parent}-01")),
        ("/health/ready", format!("00-{trace}-{parent}-00")),
        // No trace at all, so this server decides.
        ("/api/docs/", format!("00-{}-{parent}-01", "0".repeat(32))),
        ("/api/academic/units/", "nonsense".to_owned()),
    ] {
        let state = ("tracestate", "vendor=a-state-never-kept");
        get(&server, path, &[("traceparent", &traceparent), state]).await;
    }
    server.stop().await;
    let spans = spans(&collector);
    assert_eq!(spans.len(), 1, "{spans:#?}");
    let span = named(&spans, "GET /health/live");
    assert_eq!((hex(&span.trace_id), hex(&span.parent_span_id)), (trace.to_owned(), parent.to_owned()));
    assert_eq!(span.trace_state, "");
}

#[tokio::test]
async fn nothing_secret_and_nobody_is_in_what_the_collector_gets() {
    let (app, collector) = (TestApp::start().await, Receiver::start().await);
    let (staff, secret) = (app.staff().await, "a-value-never-traced");
    let server = traced(&app, &collector, &[("OTLP_HEADERS", "Authorization=Basic demo")]).await;
    let token = log_in(&server, &staff.email).await;
    let headers = [("authorization", token.as_str()), ("x-request-id", secret), ("user-agent", secret)];
    for path in [
        format!("/api/core/calendar.ics?token={secret}"),
        format!("/media/{secret}?signature={secret}"),
        format!("/reset/{secret}"),
        format!("/{secret}/{}", staff.email),
        format!("/api/users/users/?search={secret}"),
        "/api/users/users/me/".to_owned(),
    ] {
        get(&server, &path, &headers).await;
    }
    let wrong = json!({ "email": staff.email, "password": secret });
    let refused = reqwest::Client::new().post(format!("{}/api/token/?{secret}", server.base)).json(&wrong);
    refused.send().await.unwrap();
    server.stop().await;

    let sent = collector.sent();
    assert!(sent.iter().all(|sent| sent.header("authorization") == "Basic demo"));
    let spans = spans(&collector);
    named(&spans, "GET /api/core/calendar.ics/");
    assert!(spans.len() > 10);
    let bare = token.trim_start_matches("Bearer ");
    for export in sent {
        let text = String::from_utf8_lossy(&export.body);
        for never in [secret, staff.email.as_str(), staff.username.as_str(), PASSWORD, bare, "Basic"] {
            assert!(!text.contains(never), "{never}");
        }
    }
}

#[tokio::test]
async fn a_failure_of_the_server_is_marked() {
    let (app, collector) = (TestApp::start().await, Receiver::start().await);
    let proxy = Proxy::start(&app).await;
    let way = proxy.options().to_url_lossy().to_string();
    let server = traced(&app, &collector, &[("DATABASE_URL", &way)]).await;
    proxy.cut();
    assert_eq!(get(&server, "/health/ready", &[]).await, 503);
    server.stop().await;
    let spans = spans(&collector);
    let span = named(&spans, "GET /health/ready");
    let told = told(&span.attributes);
    assert!(failed(span));
    assert_eq!((&told["error.type"], &told["http.response.status_code"]), (&json!("503"), &json!(503)));
}

#[tokio::test]
async fn a_call_to_another_server_has_a_span_and_tells_the_other() {
    let (app, collector, outside) = (TestApp::with(&[OPEN]).await, Receiver::start().await, Receiver::start().await);
    let (admin, student) = (app.admin().await, app.student().await);
    let (id, _) = workflow(&admin, "student.ask", &outside.url("/ask?key=a-value-never-traced")).await;
    let url = outside.url("/v1");
    let server = traced(&app, &collector, &[OPEN, ("ADVISOR_URL", &url), ("ADVISOR_API_KEY", "demo-key")]).await;
    let token = log_in(&server, &student.email).await;
    let ask = async || {
        let request = reqwest::Client::new().post(format!("{}/api/askai/chat/", server.base));
        let request = request.header("authorization", &token).json(&json!({ "message": "Hello", "history": [] }));
        request.send().await.unwrap().status().as_u16()
    };
    outside.answers(200, json!({ "reply": "One." }));
    assert_eq!(ask().await, 200);
    admin.patch(&format!("{WORKFLOWS}{id}/"), &json!({ "is_active": false })).await.expect(200);
    outside.answers(500, json!({}));
    assert_eq!(ask().await, 502);
    server.stop().await;

    let (spans, calls) = (spans(&collector), outside.sent());
    assert_eq!(
        (calls[0].path.as_str(), calls[1].path.as_str()),
        ("/ask?key=a-value-never-traced", "/v1/chat/completions")
    );
    for (call, status) in calls.iter().zip([200, 500]) {
        let parts: Vec<&str> = call.header("traceparent").split('-').collect();
        assert!(!call.headers.contains_key("tracestate"));
        let span = spans.iter().find(|span| hex(&span.span_id) == parts[2]).unwrap();
        let request = spans.iter().find(|other| other.span_id == span.parent_span_id).unwrap();
        assert_eq!((hex(&span.trace_id).as_str(), request.name.as_str()), (parts[1], "POST /api/askai/chat/"));
        assert_eq!((span.name.as_str(), span.kind, failed(span)), ("POST", CLIENT, status == 500));
        let told = told(&span.attributes);
        assert_eq!(
            (&told["server.address"], &told["http.response.status_code"]),
            (&json!("127.0.0.1"), &json!(status))
        );
    }
    for export in collector.sent() {
        let text = String::from_utf8_lossy(&export.body);
        assert!(!text.contains("a-value-never-traced") && !text.contains("demo-key"));
    }
}

/// No line for each request: what a test does not read must fit into the pipe.
const FEW_LINES: (&str, &str) = ("LOG_LEVEL", "warn,swincms::traces=info,swincms::cli=info");

/// Enough requests for several batches, and for more than can wait.
async fn many(server: &Server) {
    let client = reqwest::Client::new();
    for _ in 0..3000 {
        let reply = client.get(format!("{}/health/live", server.base)).send().await.unwrap();
        assert_eq!(reply.status(), 200);
    }
}

fn lines_of<'a>(lines: &'a [Value], message: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["message"].as_str().unwrap().starts_with(message)).collect()
}

#[tokio::test]
async fn a_collector_that_fails_or_is_away_costs_no_request_and_one_line() {
    let (app, collector) = (TestApp::start().await, Receiver::start().await);
    collector.always(|_| (axum::http::StatusCode::INTERNAL_SERVER_ERROR, "broken").into_response());
    let server = traced(&app, &collector, &[FEW_LINES]).await;
    many(&server).await;
    collector.until_called(2).await;
    collector.always(|_| axum::http::StatusCode::OK.into_response());
    let batches = collector.sent().len();
    many(&server).await;
    collector.until_called(batches + 1).await;
    let lines = server.stop().await;
    let warned = lines_of(&lines, "traces cannot be sent");
    assert_eq!((warned.len(), &warned[0]["says"]), (1, &json!("the collector answered 500")), "{warned:?}");
    assert_eq!(lines_of(&lines, "traces are sent again").len(), 1);

    collector.close().await;
    let server = traced(&app, &collector, &[FEW_LINES]).await;
    many(&server).await;
    let lines = server.stop().await;
    let warned = lines_of(&lines, "traces cannot be sent");
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(!warned[0].to_string().contains("v1/traces"));
}

#[tokio::test]
async fn a_collector_that_hangs_costs_no_request_and_a_stop_little() {
    let (app, collector) = (TestApp::start().await, Receiver::start().await);
    collector.hold();
    let server = traced(&app, &collector, &[FEW_LINES]).await;
    many(&server).await;
    collector.until_called(1).await;
    let started = Instant::now();
    let lines = server.stop().await;
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert_eq!(lines_of(&lines, "the last traces could not be sent").len(), 1);
}

#[tokio::test]
async fn without_the_setting_nothing_is_recorded_and_nothing_runs() {
    let (app, collector) = (TestApp::start().await, Receiver::start().await);
    let threads = |server: &Server| {
        let tasks = format!("/proc/{}/task", server.child.id().unwrap());
        let names = std::fs::read_dir(tasks).unwrap();
        let names = names.map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap());
        names.filter(|name| name.starts_with("OpenTelemetry")).count()
    };
    let traceparent = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    for (settings, expected) in [
        // The setting's name in other programs is none of ours.
        (("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url("")), 0),
        (("OTLP_ENDPOINT", collector.url("")), 1),
    ] {
        let mut server = Server::start(&app, &[(settings.0, settings.1.as_str())]).await;
        if cfg!(target_os = "linux") {
            assert_eq!(threads(&server), expected);
        }
        assert_eq!(get(&server, "/api/academic/courses/", &[traceparent]).await, 200);
        let line = server.until(|line| line["message"] == "answered").await;
        assert_eq!(line["span"]["trace_id"].is_string(), expected == 1, "{line}");
        server.stop().await;
        assert_eq!(collector.sent().len(), expected);
    }
}
