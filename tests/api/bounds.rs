//! How large an answer is and how much memory it takes is decided by the server, whatever comes: the worst bodies of a
//! mebibyte to every route that reads one, and the worst query strings to every route that has parameters.
//!
//! The server is a process of its own, so that its memory can be told. `./scripts/drill hostile` sends every shape to every
//! route, as more people, and holds a release build to a second for each answer.

use std::path::Path;

use image::{DynamicImage, ImageFormat};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};
use swincms::access::tokens::Kind;
use swincms::clock::Clock;

use crate::cli::swincms;
use crate::log::Server;
use crate::support::TestApp;
use crate::support::corpus::{jpeg_with, multipart, picture};
use crate::support::documented::document;

/// A body that every endpoint for JSON reads.
const MEBIBYTE: usize = 1024 * 1024;

/// The largest refusal, in bytes.
const LARGEST_REFUSAL: usize = 64 * 1024;

/// The most that a request may add to the memory of the process, in KiB.
const MOST_MEMORY: u64 = 32 * 1024;

/// A list's text, `count` times.
fn many(text: &str, count: usize) -> String {
    vec![text; count].join(",")
}

/// As many items of this text as fit.
fn list_of(text: &str, bytes: usize) -> String {
    format!("[{}]", many(text, bytes / (text.len() + 1)))
}

/// Bodies that cost as much as they can; of those that depend on it, for an endpoint with these fields.
fn bodies(fields: &[String]) -> Vec<(&'static str, String)> {
    let room = MEBIBYTE - 64 * 1024;
    let each = room / fields.len().max(1) - 300;
    let with = |value: String| {
        let members = fields.iter().map(|field| format!("{}:{value}", json!(field)));
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    };
    let numbered = |shape: &dyn Fn(usize) -> String| {
        let mut text = String::from("{");
        for number in 0.. {
            let next = shape(number);
            if text.len() + next.len() > room {
                break;
            }
            text.push_str(if number == 0 { "" } else { "," });
            text.push_str(&next);
        }
        text + "}"
    };
    let long = "b".repeat(100_000);
    let name = "n".repeat(250);
    vec![
        ("NUL upon NUL below a long name", format!(r#"{{"{long}":{}}}"#, list_of(r#""\u0000""#, room - long.len()))),
        ("NUL upon NUL below a name", format!(r#"{{"{name}":{}}}"#, list_of(r#""\u0000""#, room))),
        ("NUL in names", numbered(&|number| format!(r#""\u0000{number}":0"#))),
        ("names of one letter too many", numbered(&|number| format!(r#""{number:0256}":0"#))),
        ("names as long as they may be", numbered(&|number| format!(r#""{number:0255}":0"#))),
        ("many names", numbered(&|number| format!(r#""{number}":0"#))),
        ("one name again and again", numbered(&|_| r#""a":0"#.to_owned())),
        ("small objects", format!(r#"{{"a":{}}}"#, list_of(r#"{"":0}"#, room))),
        ("small objects, not quite too many", format!(r#"{{"a":[{}]}}"#, many(r#"{"":0}"#, 22_000))),
        ("numbers", format!(r#"{{"a":{}}}"#, list_of("0", room))),
        ("numbers alone", list_of("0", room)),
        ("deep", format!("{}{}", r#"{"a":"#.repeat(100_000), "1")),
        ("as deep as it may be", format!(r#"{{"a":{}}}"#, list_of(&("[".repeat(100) + &"]".repeat(100)), room))),
        ("one long text", format!(r#"{{"a":"{}"}}"#, "x".repeat(room))),
        ("a list where anything stands", with(list_of("0", each))),
        ("objects where anything stands", with(list_of(r#"{"":0}"#, each))),
        ("texts where anything stands", with(list_of(r#""x""#, each))),
        ("a long text where anything stands", with(format!("\"{}\"", "x".repeat(each)))),
        ("letters that are spelt long", with(format!("\"{}\"", r"\u0001".repeat(each / 6)))),
        ("NUL where anything stands", with(format!("\"{}\"", r"\u0000".repeat(each / 6)))),
        ("a number of many digits where anything stands", with("9".repeat(each))),
        ("an object where anything stands", with(r#"{"a":{"b":{}}}"#.to_owned())),
        ("not UTF-8 in the end", format!(r#"{{"a":"{}"#, "\u{20ac}".repeat(room / 3))),
    ]
}

/// Query strings that cost as much as they can, for an endpoint with these parameters.
fn queries(names: &[String]) -> Vec<(&'static str, String)> {
    use base64::Engine as _;
    let room = 60_000;
    let each = room / names.len().max(1) - 40;
    let all = |value: String| names.iter().map(|name| format!("{name}={value}")).collect::<Vec<_>>().join("&");
    let first = names.first().map_or("a", String::as_str);
    let ordering = |n: usize| (0..n).map(|i| if i % 2 == 0 { "code" } else { "-code" }).collect::<Vec<_>>().join(",");
    let cursor = |n: usize| {
        let cursor = json!({ "o": ordering(n), "k": vec![""; n + 1], "i": 1 });
        base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(cursor.to_string())
    };
    vec![
        ("one long value", format!("{first}={}", "a".repeat(room))),
        ("long values", all("a".repeat(each))),
        ("long numbers", all(format!("{}1", "0".repeat(each)))),
        ("lists of words", all("a,".repeat(each / 2))),
        ("signs with a meaning", all("%25_%5C".repeat(each / 8))),
        ("a parameter again and again", vec![format!("{first}=1"); room / (first.len() + 3)].join("&")),
        ("names that nobody knows", (0..room / 8).map(|n| format!("a{n}=")).collect::<Vec<_>>().join("&")),
        ("a name that nobody knows", format!("{}=1", "a".repeat(room))),
        ("an ordering again and again", format!("ordering={}", ordering(room / 6))),
        ("a cursor made at home", format!("page_size=1&ordering={}&cursor={}", ordering(400), cursor(400))),
        ("a long cursor made at home", format!("page_size=1&ordering=code&cursor={}", cursor(2000))),
        ("a search of many words", format!("search={}", "a%20".repeat(100))),
    ]
}

/// A server of its own, full of demo data, and an administrator's token for it.
struct Bounded {
    server: Server,
    client: reqwest::Client,
    token: String,
    _app: TestApp,
}

/// What came back, and how much the process grew for it.
struct Came {
    status: u16,
    bytes: usize,
    grown: u64,
    says: String,
}

impl Bounded {
    async fn start() -> Self {
        let app = TestApp::start().await;
        swincms(&app, &["seed"]).await.good();
        let admin = app.admin().await;
        // The process has the time of day.
        let now = Clock::system().now();
        let token = app.state.tokens.make(Kind::Access, admin.id, admin.session, now).unwrap();
        let server = Server::start(&app, &[("LOG_LEVEL", "error,swincms::cli=info"), ("REGISTRATION", "open")]).await;
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { server, client, token, _app: app }
    }

    fn memory(&self, field: &str) -> u64 {
        let status = format!("/proc/{}/status", self.server.child.id().unwrap());
        let text = std::fs::read_to_string(status).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Sends a request and tells how much memory the process took for it at most.
    async fn send(&self, signed_in: bool, method: &str, path: &str, body: Option<(&str, Vec<u8>)>) -> Came {
        let clear = format!("/proc/{}/clear_refs", self.server.child.id().unwrap());
        if Path::new(&clear).exists() {
            // The highest mark begins anew.
            std::fs::write(&clear, "5").unwrap();
        }
        let before = self.memory("VmRSS");
        let mut request = self.client.request(method.parse().unwrap(), format!("{}{path}", self.server.base));
        if signed_in {
            request = request.header(AUTHORIZATION, format!("Bearer {}", self.token));
        }
        if let Some((media_type, body)) = body {
            request = request.header(CONTENT_TYPE, media_type).body(body);
        }
        let answer = request.send().await.unwrap_or_else(|error| panic!("{method} {path}: {error:?}"));
        let status = answer.status().as_u16();
        let bytes = answer.bytes().await.unwrap();
        let grown = self.memory("VmHWM").saturating_sub(before);
        let says = String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
        Came { status, bytes: bytes.len(), grown, says }
    }

    /// Sends it, and says what is not as it should be.
    async fn judge(
        &self,
        what: &str,
        signed_in: bool,
        method: &str,
        path: &str,
        body: Option<String>,
    ) -> Option<String> {
        let sent = body.as_ref().map_or(0, String::len);
        let body = body.map(|body| {
            // A text that ends within a letter.
            let whole = if what.starts_with("not UTF-8") { body.len() - 1 } else { body.len() };
            ("application/json", body.into_bytes()[..whole].to_vec())
        });
        let came = self.send(signed_in, method, path, body).await;
        let refused = came.status >= 400;
        // What is taken may be shown as it was sent.
        let most = if refused { LARGEST_REFUSAL } else { LARGEST_REFUSAL.max(2 * sent) };
        let list = method == "GET" && !refused;
        let is_fine = came.status < 500 && (list || came.bytes < most) && came.grown < MOST_MEMORY;
        let Came { status, bytes, grown, says } = came;
        (!is_fine)
            .then(|| format!("{method} {path} ({what}, {sent} bytes): {status}, {bytes} bytes, {grown} KiB: {says}"))
    }
}

/// Method, path with ids of what there is, and the operation.
fn operations() -> Vec<(String, String, &'static Value)> {
    let mut found = Vec::new();
    for (path, item) in document()["paths"].as_object().unwrap() {
        // A stream has no end to wait for.
        if path.ends_with("/stream/") {
            continue;
        }
        let there = path.split('/').map(|part| if part.starts_with('{') { "1" } else { part }).collect::<Vec<_>>();
        for (method, operation) in item.as_object().unwrap() {
            found.push((method.to_uppercase(), there.join("/"), operation));
        }
    }
    found
}

/// The fields of a body in JSON; none when it has no such body.
fn fields(operation: &Value) -> Option<Vec<String>> {
    let mut schema = operation.pointer("/requestBody/content/application~1json/schema")?;
    while let Some(name) = schema["$ref"].as_str() {
        schema = document().pointer(name.trim_start_matches('#')).unwrap();
    }
    let parts = schema["allOf"].as_array().cloned().unwrap_or_default();
    let parts = parts.iter().chain([schema]).filter_map(|part| part["properties"].as_object());
    Some(parts.flat_map(|members| members.keys().cloned()).collect())
}

fn parameters(operation: &Value) -> Vec<String> {
    let named = operation["parameters"].as_array().into_iter().flatten();
    named.filter(|one| one["in"] == "query").map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn no_body_makes_the_answer_large_or_takes_much_memory() {
    let bounded = Bounded::start().await;
    let mut wrong = Vec::new();
    let routes = operations().into_iter().filter_map(|(method, path, operation)| {
        let public = operation["security"].as_array().is_none_or(|ways| ways.is_empty() || ways.contains(&json!({})));
        fields(operation).map(|fields| (method, path, public, fields))
    });
    let (mut seen, mut turn) = (0, 0);
    for (method, path, public, fields) in routes {
        seen += 1;
        let shapes = bodies(&fields);
        let count = shapes.len();
        for (place, (what, body)) in shapes.into_iter().enumerate() {
            // All to what strangers reach, and to the others three in turn, so that each shape meets many routes.
            let is_its_turn = (place + count - turn % count) % count < 3;
            if public || is_its_turn {
                wrong.extend(bounded.judge(what, !public, &method, &path, Some(body)).await);
            }
        }
        turn += 3;
    }
    assert!(seen > 60, "only {seen} routes have a body");
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn no_query_string_makes_the_answer_large_or_takes_much_memory() {
    let bounded = Bounded::start().await;
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (method, path, operation) in operations() {
        let names = parameters(operation);
        if method != "GET" || names.is_empty() {
            continue;
        }
        seen += 1;
        for (what, query) in queries(&names) {
            let signed_in = what != "a cursor made at home";
            wrong.extend(bounded.judge(what, signed_in, &method, &format!("{path}?{query}"), None).await);
        }
    }
    assert!(seen > 40, "only {seen} routes have parameters");
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn a_refusal_names_a_hundred_errors_and_counts_the_rest() {
    let app = TestApp::start().await;
    let texts = vec!["\0"; 1000];
    let reply = app.anonymous().post("/api/token/", &json!({ "a": texts })).await;
    assert_eq!(reply.status, 400);
    assert_eq!(reply.body["errors"].as_object().unwrap().len(), 100);
    assert_eq!(reply.body["errors_left_out"], 900);
    assert_eq!(reply.errors("a[0]"), ["Null characters are not allowed."]);
    let detail = reply.body["detail"].as_str().unwrap();
    assert!(detail.ends_with(" There are 900 more errors."), "{detail}");
    assert!(detail.chars().count() <= 1000, "{detail}");

    // A name that is longer than any of ours is refused before what it names is looked at.
    let long = "b".repeat(256);
    let reply = app.anonymous().post("/api/token/", &json!({ "a": { long.clone(): ["\0"] }, long: 1 })).await;
    assert_eq!(reply.body["errors"].as_object().unwrap().keys().collect::<Vec<_>>(), ["a", "body"]);
    assert_eq!(reply.errors("body"), ["A name in it has more than 255 characters."]);
    let reply = app.anonymous().post("/api/token/", &json!({ "b".repeat(255): "\0" })).await;
    assert_eq!(reply.errors(&"b".repeat(255)), ["Null characters are not allowed."]);
}

#[tokio::test]
async fn a_table_with_more_columns_than_anybody_needs_is_refused() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let names = (0..100_000).map(|number| format!("c{number}")).collect::<Vec<_>>().join(",");
    let file = format!("title,start,{names}\n{}", "x\n".repeat(15_000));
    for (path, field) in [("/api/core/events/import-csv/", "data"), ("/api/social/transactions/import-csv/", "file")] {
        let upload = crate::support::Upload::of(field, "wide.csv", file.clone());
        let reply = staff.upload(path, upload).await;
        assert_eq!(
            reply.errors(field),
            ["At most 100 columns are taken; row 1 of the sheet has 100002."],
            "{}",
            reply.body
        );
    }
}

#[tokio::test]
async fn a_file_with_a_fault_in_every_row_is_refused_in_few_words() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let file = format!("title,start\n{}", format!(",{}\n", "9".repeat(40)).repeat(15_000));
    let upload = || crate::support::Upload::of("data", "bad.csv", file.clone());
    let reply = staff.upload("/api/core/events/import-csv/", upload()).await;
    assert_eq!(reply.status, 400);
    assert!(reply.bytes.len() < LARGEST_REFUSAL, "{} bytes", reply.bytes.len());
    assert_eq!(reply.body["row_errors"].as_array().unwrap().len(), 100);
    assert_eq!(reply.body["errors_left_out"], 29_900);
    let reply = staff.upload("/api/core/events/import-csv/?partial=true", upload()).await;
    assert_eq!(
        (&reply.expect(200)["error_count"], reply.body["errors"].as_array().unwrap().len()),
        (&json!(15_000), 100)
    );

    let batch = json!({ "events": vec![json!({ "title": "", "start": "x" }); 20_000] });
    let reply = staff.post("/api/core/events/batch-create-webhook/", &batch).await;
    assert_eq!(reply.expect(201)["error_count"], 20_000);
    assert!(reply.bytes.len() < LARGEST_REFUSAL, "{} bytes", reply.bytes.len());
}

/// The largest pictures that are taken, held sideways, and such as are too large.
fn large_pictures() -> Vec<(&'static str, Vec<u8>, u16)> {
    let exif = [b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0".as_slice()].concat();
    let plain = |format: ImageFormat, picture: DynamicImage| {
        let mut out = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut out, format).unwrap();
        out.into_inner()
    };
    vec![
        ("JPEG of 24 million pixels, sideways", jpeg_with(0xE1, &exif, 6000, 4000), 200),
        (
            "PNG of 19 million pixels with transparency",
            plain(ImageFormat::Png, DynamicImage::new_rgba8(4400, 4400)),
            200,
        ),
        (
            "WebP of 19 million pixels with transparency",
            plain(ImageFormat::WebP, DynamicImage::new_rgba8(4400, 4400)),
            200,
        ),
        ("JPEG of 25 million pixels", picture(ImageFormat::Jpeg, 5000, 5001), 400),
        ("PNG with 16 bits a colour", plain(ImageFormat::Png, DynamicImage::new_rgba16(4400, 4400)), 400),
    ]
}

#[tokio::test]
async fn large_pictures_at_once_are_served_or_refused_within_the_memory_there_is() {
    let bounded = Bounded::start().await;
    let pictures = large_pictures();
    let all = pictures.iter().chain(pictures.iter()).map(|(what, bytes, status)| {
        let body = multipart(&[("name=\"file\"; filename=\"a\"", bytes.as_slice())]);
        let sent = bounded.send(true, "POST", "/api/core/media/", Some(("multipart/form-data; boundary=limit", body)));
        async move {
            let came = sent.await;
            let is_fine = came.status == 503 || came.status == if *status == 200 { 201 } else { *status };
            assert!(is_fine, "{what}: {} {}", came.status, came.says);
        }
    });
    futures_util::future::join_all(all).await;
    let peak = bounded.memory("VmHWM");
    assert!(peak < 480 * 1024, "{peak} KiB");
}

#[tokio::test]
async fn a_page_ends_before_its_size_when_its_rows_are_large() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    // 60 pages of 200,000 letters, which are 12 MB.
    let made = sqlx::query!(
        "insert into pages (title, slug, content, published)
         select 'Page ' || n, 'page-' || n, repeat('x', 200000), true
           from generate_series(1, 60) n"
    );
    made.execute(&app.db).await.unwrap();
    let (mut seen, mut pages) = (Vec::new(), 0);
    let mut next = Some("/api/core/pages/?page_size=1000&ordering=id".to_owned());
    while let Some(address) = next {
        let reply = staff.get(&address).await;
        assert!(reply.bytes.len() < 9 * 1024 * 1024, "{} bytes", reply.bytes.len());
        seen.extend(reply.ids());
        pages += 1;
        next = reply.next_page();
    }
    let ids: Vec<i64> = seen.iter().map(|id| id.0).collect();
    assert_eq!((ids, pages), ((1..=60).collect(), 2));
}
