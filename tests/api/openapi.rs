//! The OpenAPI document says what the route table says, and its page needs nobody else's server.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use swincms::app::routes;

use crate::support::{Sender, TestApp, assert_golden, words_of_the_inside};

const METHODS: [&str; 8] = ["get", "post", "put", "patch", "delete", "head", "options", "trace"];

async fn document() -> Value {
    let app = TestApp::start().await;
    app.anonymous().get("/api/schema/").await.expect(200).clone()
}

/// Each operation with its path and method.
fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    document["paths"].as_object().unwrap().iter().flat_map(|(path, item)| {
        let members = item.as_object().unwrap().iter();
        members
            .filter(|(method, _)| METHODS.contains(&method.as_str()))
            .map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

/// Calls `look` for every value in the document.
fn everywhere<'a>(value: &'a Value, look: &mut impl FnMut(&'a Value)) {
    look(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| everywhere(item, look)),
        Value::Object(members) => members.values().for_each(|member| everywhere(member, look)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test]
async fn the_document_names_exactly_the_routes() {
    let document = document().await;
    assert_eq!(document["openapi"], "3.1.0");
    let named: Vec<String> =
        operations(&document).map(|(path, method, _)| format!("{} {path}", method.to_uppercase())).collect();
    let table = routes();
    let mut there: Vec<String> = table.lines().iter().map(|route| format!("{} {}", route.method, route.path)).collect();
    there.sort();
    // The document can name an operation only once: a doubled route shows as one too many.
    let mut named_sorted = named;
    named_sorted.sort();
    assert_eq!(named_sorted, there);
}

#[tokio::test]
async fn the_document_is_the_golden_file() {
    let document = document().await;
    assert_golden("openapi.json", &(serde_json::to_string_pretty(&document).unwrap() + "\n"));
}

#[tokio::test]
async fn the_document_is_sent_compressed_and_once() {
    let app = TestApp::start().await;
    let nobody = app.anonymous();
    for format in ["json", "yaml"] {
        let path = format!("/api/schema/?format={format}");
        let plain = nobody.get(&path).await;
        assert_eq!((plain.header("content-encoding"), plain.header("vary")), (None, Some("accept-encoding")));
        let small = nobody.with("Accept-Encoding", "br;q=1.0, gzip;q=0.8").get(&path).await;
        assert_eq!((small.status.as_u16(), small.header("content-encoding")), (200, Some("gzip")));
        assert!(small.bytes.len() * 5 < plain.bytes.len(), "{} of {}", small.bytes.len(), plain.bytes.len());
        let mut read = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&*small.bytes), &mut read).unwrap();
        assert_eq!(read, plain.bytes);
        let tag = small.header("etag").unwrap().to_owned();
        assert_ne!(Some(&*tag), plain.header("etag"), "each form has a tag of its own");
        let again = nobody.with("Accept-Encoding", "gzip").with("If-None-Match", &tag).get(&path).await;
        assert_eq!((again.status.as_u16(), again.bytes.len()), (304, 0));
    }
    let refused = nobody.with("Accept-Encoding", "gzip;q=0").get("/api/schema/").await;
    assert_eq!(refused.header("content-encoding"), None);
}

#[tokio::test]
async fn operation_ids_are_unique_and_so_are_the_names_of_schemas() {
    let document = document().await;
    let mut places: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (path, method, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap();
        places.entry(id).or_default().push(format!("{method} {path}"));
    }
    places.retain(|_, places| places.len() > 1);
    assert!(places.is_empty(), "operations share an operationId: {places:#?}");

    let names = document["components"]["schemas"].as_object().unwrap().keys();
    let plain = |name: &&String| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    let (_, odd): (Vec<_>, Vec<_>) = names.partition(plain);
    assert!(odd.is_empty(), "types share a schema name, or have one that the specification does not allow: {odd:?}");
}

/// Calls `look` for every schema within this one, itself among them, with where it stands.
fn schemas<'a>(schema: &'a Value, place: &str, look: &mut impl FnMut(&'a Value, &str)) {
    look(schema, place);
    let members = schema["properties"].as_object().into_iter().flatten();
    for (name, member) in members {
        schemas(member, &format!("{place}.{name}"), look);
    }
    for part in ["items", "additionalProperties"] {
        if schema[part].is_object() {
            schemas(&schema[part], &format!("{place} {part}"), look);
        }
    }
    for list in ["allOf", "anyOf", "oneOf", "prefixItems"] {
        for part in schema[list].as_array().into_iter().flatten() {
            schemas(part, place, look);
        }
    }
}

/// Calls `look` for every schema of the document.
fn all_schemas<'a>(document: &'a Value, look: &mut impl FnMut(&'a Value, &str)) {
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        schemas(schema, name, look);
    }
    for (path, method, operation) in operations(document) {
        let place = format!("{method} {path}");
        everywhere(operation, &mut |value| {
            if value.get("schema").is_some_and(Value::is_object) && value["schema"].get("$ref").is_none() {
                schemas(&value["schema"], &format!("{place} {}", value["name"].as_str().unwrap_or_default()), look);
            }
        });
    }
}

#[tokio::test]
async fn every_default_and_example_is_what_its_schema_describes() {
    let document = document().await;
    let (mut seen, mut faults) = (0, Vec::new());
    all_schemas(&document, &mut |schema, place| {
        let examples = schema["examples"].as_array().into_iter().flatten();
        for value in [schema.get("default"), schema.get("example")].into_iter().flatten().chain(examples) {
            seen += 1;
            let mut whole = schema.clone();
            whole["components"] = document["components"].clone();
            let validator = jsonschema::options().should_validate_formats(true).build(&whole).unwrap();
            if let Err(fault) = validator.validate(value) {
                faults.push(format!("{place}: {fault}"));
            }
        }
    });
    assert!(seen > 10, "{seen}");
    assert!(faults.is_empty(), "{faults:#?}");
}

#[tokio::test]
async fn no_schema_has_a_default_for_clients_would_take_its_member_as_given() {
    let document = document().await;
    let mut with = Vec::new();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        schemas(schema, name, &mut |schema, place| {
            if schema.get("default").is_some() {
                with.push(place.to_owned());
            }
        });
    }
    assert!(with.is_empty(), "{with:?}");
    let says = &document["components"]["schemas"]["UnitFields"]["properties"]["credit_points"]["description"];
    assert_eq!(says, "Not negative, one decimal. `12.5` when left out.");
    let change = &document["components"]["schemas"]["UnitFieldsChange"];
    assert_eq!(change["properties"]["credit_points"]["description"], "Not negative, one decimal.");
    assert_eq!(change.get("required"), None);
}

#[tokio::test]
async fn every_schema_is_used() {
    let document = document().await;
    let mut used = BTreeSet::new();
    everywhere(&document, &mut |value| {
        let target = value.get("$ref").and_then(Value::as_str).unwrap_or_default();
        used.extend(target.strip_prefix("#/components/schemas/"));
    });
    let there: BTreeSet<&str> =
        document["components"]["schemas"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(there, used);
}

#[tokio::test]
async fn every_operation_has_a_tag_in_words_and_every_tag_a_group_and_a_sentence() {
    let document = document().await;
    let named = |tag: &Value| tag["name"].as_str().unwrap().to_owned();
    let tags: Vec<String> = document["tags"].as_array().unwrap().iter().map(named).collect();
    let groups = document["x-tagGroups"].as_array().unwrap().iter();
    let grouped: Vec<String> = groups
        .flat_map(|group| group["tags"].as_array().unwrap())
        .map(|tag| tag.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(tags, grouped);
    let of_operations: BTreeSet<String> = operations(&document)
        .flat_map(|(_, _, operation)| operation["tags"].as_array().unwrap())
        .map(|tag| tag.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(tags.iter().cloned().collect::<BTreeSet<_>>(), of_operations);
    assert_eq!(tags.len(), of_operations.len(), "a tag stands twice");
    for tag in document["tags"].as_array().unwrap() {
        let (name, says) = (tag["name"].as_str().unwrap(), tag["description"].as_str().unwrap());
        assert!(name.chars().all(|c| c.is_ascii_alphabetic() || " -".contains(c)), "{name}");
        assert!(says.ends_with('.') && says.matches(". ").count() == 0, "{name}: {says}");
    }
}

#[tokio::test]
async fn no_refusal_of_a_parameter_speaks_the_language_of_the_implementation() {
    let app = TestApp::start().await;
    let (admin, document) = (app.admin().await, document().await);
    let (mut asked, mut found) = (0, BTreeSet::new());
    for (path, method, operation) in operations(&document) {
        // The stream has no end.
        if method != "get" || path.ends_with("/stream/") {
            continue;
        }
        let filled: Vec<&str> = path.split('/').map(|part| if part.starts_with('{') { "1" } else { part }).collect();
        let path = filled.join("/");
        for parameter in operation["parameters"].as_array().into_iter().flatten().filter(|p| p["in"] == "query") {
            let name = parameter["name"].as_str().unwrap();
            for value in
                ["x", "-1", "1.5", "true", "1e99", "31/02/2026", "2026-01-01T00:00:00Zx", "12,5", "%F0%9F%92%A5"]
            {
                asked += 1;
                let reply = admin.get(&format!("{path}?{name}={value}")).await;
                assert!(!reply.status.is_server_error(), "{path}?{name}={value} is {}", reply.status);
                for says in words_of_the_inside(&reply) {
                    found.insert(format!("{path}?{name}={value} says: {says}"));
                }
            }
        }
    }
    assert!(asked > 1000, "{asked}");
    assert!(found.is_empty(), "{found:#?}");
}

#[tokio::test]
async fn every_reference_leads_to_a_schema() {
    let document = document().await;
    let mut targets = BTreeSet::new();
    everywhere(&document, &mut |value| {
        if let Some(target) = value.get("$ref") {
            targets.insert(target.as_str().unwrap());
        }
    });
    assert!(targets.len() > 1);
    for target in &targets {
        let pointer = target.strip_prefix('#').unwrap_or_else(|| panic!("{target} leads out of the document"));
        assert!(document.pointer(pointer).is_some(), "{target} leads nowhere");
    }
}

#[tokio::test]
async fn operations_describe_their_parts() {
    let document = document().await;
    for (path, method, operation) in operations(&document) {
        let what = format!("{method} {path}");
        assert!(operation["summary"].as_str().is_some_and(|says| says.ends_with('.')), "{what} has no summary");
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with(['2', '3'])), "{what} never succeeds");
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let inside = |place: &str| -> BTreeSet<String> {
            let of = parameters.iter().filter(|parameter| parameter["in"] == place);
            of.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect()
        };
        let variables: BTreeSet<String> = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .map(|name| name.trim_start_matches('*').to_owned())
            .collect();
        assert_eq!(inside("path"), variables, "{what} describes other path parameters than it has");
        let mut seen = BTreeSet::new();
        for parameter in &parameters {
            let key = (parameter["in"].to_string(), parameter["name"].to_string());
            assert!(seen.insert(key), "{what} describes {} twice", parameter["name"]);
        }
        if method == "get" {
            assert!(operation.get("requestBody").is_none(), "{what} asks for a body");
        }
    }
}

#[tokio::test]
async fn yaml_says_the_same_as_json() {
    let app = TestApp::start().await;
    let nobody = app.anonymous();
    let json = nobody.get("/api/schema/?format=json").await;
    let yaml = nobody.get("/api/schema/?format=yaml").await;
    assert_eq!(yaml.header("content-type"), Some("application/yaml"));
    let read: Value = yaml_serde::from_slice(&yaml.bytes).unwrap();
    assert_eq!(&read, json.expect(200));
    assert_eq!(nobody.get("/api/schema/?format=toml").await.errors("format").len(), 1);
}

#[tokio::test]
async fn the_first_page_leads_people_to_the_documentation_and_tells_programs_where_things_are() {
    let app = TestApp::start().await;
    let nobody = app.anonymous();
    let places = json!({
        "name": "SwinCMS",
        "docs": "/api/docs/",
        "schema": "/api/schema/",
        "token": "/api/token/",
        "health": "/health/ready",
    });
    for accept in ["*/*", "application/json", "application/json, text/html;q=0.9", "text/html;q=0", "text/plain"] {
        let reply = nobody.with("Accept", accept).get("/").await;
        assert_eq!((reply.expect(200), reply.header("vary")), (&places, Some("accept")), "{accept}");
    }
    assert_eq!(nobody.get("/").await.expect(200), &places);
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
    for accept in [browser, "TEXT/HTML", "application/json;q=0.5, text/html; level=1"] {
        let reply = nobody.with("Accept", accept).get("/").await;
        assert_eq!((reply.status.as_u16(), reply.header("location")), (303, Some("/api/docs/")), "{accept}");
    }
    let head = nobody.with("Accept", browser).head("/").await;
    assert_eq!((head.status.as_u16(), head.header("location")), (303, Some("/api/docs/")));
    let head = nobody.head("/").await;
    assert_eq!(
        (head.status.as_u16(), head.header("content-type"), head.bytes.len()),
        (200, Some("application/json"), 0)
    );
    for reply in [nobody.get("/favicon.ico").await, nobody.head("/favicon.ico").await] {
        assert_eq!((reply.status.as_u16(), reply.bytes.len()), (204, 0));
    }
    assert_eq!(nobody.post("/", &json!({})).await.refusal(), (405, "method_not_allowed"));
    // All of them are there.
    for (_, place) in places.as_object().unwrap().iter().filter(|(name, _)| !["name", "token"].contains(&name.as_str()))
    {
        assert_eq!(nobody.get(place.as_str().unwrap()).await.status, 200, "{place}");
    }
}

/// What nginx passes on of the paths outside of the API, and what of them operators alone ask for.
#[test]
fn nginx_knows_every_path_that_is_not_below_that_of_the_api() {
    let conf = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/nginx.conf")).unwrap();
    let locations: Vec<&str> = conf.lines().map(str::trim).filter(|line| line.starts_with("location ")).collect();
    let table = routes();
    for route in table.lines().iter().filter(|route| !route.path.starts_with("/api/")) {
        let path = &route.path;
        let known = match path.split('/').nth(1).unwrap_or_default() {
            "" => locations.iter().any(|line| line.starts_with("location = / ")),
            first => locations
                .iter()
                .any(|line| line.contains(&format!("/{first}/")) || line.starts_with(&format!("location = /{first} "))),
        };
        assert!(known, "nginx.conf has no location for {path}");
    }
}

/// Bodies of more than a megabyte are taken where files come in, and nowhere else.
#[test]
fn nginx_takes_large_bodies_exactly_where_files_come_in() {
    let conf = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/nginx.conf")).unwrap();
    let location = conf.lines().find_map(|line| line.trim().strip_prefix("location ~ ^/api/(academic")).unwrap();
    let pattern = format!("^/api/(academic{}", location.trim_end_matches(" {"));
    let takes = regex::Regex::new(&pattern).unwrap();
    let document = crate::support::documented::document();
    for (path, verbs) in document["paths"].as_object().unwrap() {
        let takes_files = verbs["post"]["requestBody"]["content"].get("multipart/form-data").is_some();
        let asked = path.replace("{id}", "7");
        assert_eq!(takes.is_match(&asked), takes_files, "{path}");
    }
}

#[tokio::test]
async fn redoc_leads_to_the_page() {
    let app = TestApp::start().await;
    let reply = app.anonymous().get("/api/redoc/").await;
    assert!(reply.status.is_redirection());
    assert_eq!(reply.header("location"), Some("/api/docs/"));
}

#[tokio::test]
async fn the_page_works_without_any_other_server() {
    let app = TestApp::start().await;
    let nobody = app.anonymous();
    // Relative addresses mean something else without the final slash; both forms must find their parts.
    for page in ["/api/docs/", "/api/docs"] {
        let reply = nobody.get(page).await;
        let reply = match reply.header("location") {
            Some(location) => nobody.get(location).await,
            None => reply,
        };
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("content-type"), Some("text/html"));
        // A browser would refuse whatever this test has overlooked.
        let policy = reply.header("content-security-policy").unwrap();
        assert!(policy.contains("; script-src 'self'; "), "a script of somebody else's could run: {policy}");
        for directive in policy.split(';').map(str::trim) {
            let from = directive.split_whitespace().skip(1);
            let own = |source: &str| matches!(source, "'none'" | "'self'" | "'unsafe-inline'" | "data:");
            assert!(from.clone().all(own), "{directive} lets in another origin");
        }
        let html = String::from_utf8(reply.bytes.clone()).unwrap();
        let base = quoted_after(&html, "<base href=").pop().unwrap_or_else(|| page.to_owned());
        assert!(!base.contains("//"));
        let links = [quoted_after(&html, "src="), quoted_after(&html, "href=")].concat();
        assert!(links.len() >= 3, "the page has no parts: {html}");
        for link in links {
            follow(&nobody, &base, &link).await;
        }
    }
}

/// The quoted texts that follow `word`.
fn quoted_after(text: &str, word: &str) -> Vec<String> {
    let after = text.split(word).skip(1);
    let quoted = |rest: &str| {
        let quote = rest.chars().next().filter(|sign| ['"', '\'', '`'].contains(sign))?;
        rest[1..].split_once(quote).map(|(inside, _)| inside.to_owned())
    };
    after.filter_map(quoted).collect()
}

/// Gets a part of the page, and what that part gets in turn.
async fn follow(nobody: &Sender, page: &str, link: &str) {
    if link.starts_with("data:") || link.starts_with('#') {
        return;
    }
    assert!(!link.contains("//"), "{link} is on another server");
    // As a browser does: relative to the folder of the page.
    let folder = page.rsplit_once('/').unwrap().0;
    let address =
        if link.starts_with('/') { link.to_owned() } else { format!("{folder}/{}", link.trim_start_matches("./")) };
    let reply = nobody.get(&address).await;
    assert_eq!(reply.status, 200, "{address}, a part of {page}, is not there");
    let text = String::from_utf8_lossy(&reply.bytes).into_owned();
    let media_type = reply.header("content-type").unwrap_or_default().to_owned();
    if media_type.contains("javascript") {
        // What the page is told to load, and what its scripts load by themselves. The page's own library fetches what
        // it is given; a script of ours is short and names the document.
        for fetched in quoted_after(&text, "fetch(") {
            assert!(!fetched.contains("//"), "{address} fetches {fetched}");
        }
        if text.len() < 10_000 {
            for named in [quoted_after(&text, "\"url\": "), quoted_after(&text, "url: ")].concat() {
                assert!(!named.contains("//"), "{address} names {named}");
                assert_eq!(nobody.get(&named).await.status, 200, "{named}, which {address} names, is not there");
            }
        }
    }
    if media_type.contains("css") {
        for part in text.split("url(").skip(1).filter_map(|rest| rest.split_once(')')) {
            let part = part.0.trim_matches(['"', '\'']);
            assert!(part.starts_with("data:") || !part.contains("//"), "{address} loads {part}");
        }
        assert!(!text.contains("@import"), "{address} imports a style sheet");
    }
}
