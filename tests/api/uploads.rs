//! Everything that somebody may send, to every route that takes a file: what is taken, where it lies, how it is served.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use axum::http::Method;
use serde_json::json;
use swincms::ids::Id;

use crate::support::corpus::{TRACES, corpus, multipart, names, png};
use crate::support::{Person, Reply, TestApp};

const FORM: &str = "multipart/form-data; boundary=limit";

/// A route that keeps a file.
struct Route {
    path: &'static str,
    /// Whether it takes documents, or pictures alone.
    documents: bool,
    /// Whether everybody may fetch what was sent, below `/media/`.
    public: bool,
    status: u16,
    /// Where in the answer the file's address stands.
    address: &'static str,
    /// Who sends.
    sender: &'static str,
}

const PICTURE: Route = Route {
    path: "/api/users/users/me/profile_image/",
    documents: false,
    public: true,
    status: 200,
    address: "/profile_image",
    sender: "staff",
};
const TICKET: Route = Route {
    path: "/api/core/tickets/{id}/files/",
    documents: true,
    public: false,
    status: 201,
    address: "/url",
    sender: "staff",
};
const LIBRARY: Route = Route { path: "/api/core/resources/", public: true, address: "/file", ..TICKET };
const MEDIA: Route = Route { path: "/api/core/media/", ..LIBRARY };
const UNIT: Route = Route { path: "/api/academic/unit-resources/", public: false, ..LIBRARY };
const APPLICATION: Route =
    Route { path: "/api/users/scholarship-applications/", address: "/documents/0/url", sender: "student", ..TICKET };
const DOCUMENT: Route =
    Route { path: "/api/users/scholarship-applications/{id}/documents/", sender: "student", ..TICKET };

const ACHIEVEMENTS: &str = "/api/social/achievements/";
const BADGE: Route = Route { path: "/api/social/achievements/{id}/badge_image/", address: "/badge_image", ..PICTURE };

/// They read a file and keep none.
const IMPORTS: [&str; 2] = ["/api/core/events/import-csv/", "/api/social/transactions/import-csv/"];

impl Route {
    fn takes(&self, media_type: &str) -> bool {
        self.documents || media_type.starts_with("image/")
    }

    /// Sends a part with these headers; what else routes ask for is beside it.
    async fn send(&self, app: &TestApp, sender: &Person, unit: Id, headers: &str, bytes: &[u8]) -> Reply {
        // A thing of its own, since one has only so many files.
        let (mut path, mut scholarship) = (self.path.to_owned(), Id(0));
        if self.sender == "student" {
            scholarship = new_scholarship(app).await;
        }
        if path == BADGE.path {
            sender.post(ACHIEVEMENTS, &json!({ "name": "First", "points_required": 10 })).await;
            path = path.replace("{id}", &sender.get(ACHIEVEMENTS).await.ids()[0].to_string());
        } else if path == TICKET.path {
            let ticket = sender.post("/api/core/tickets/", &json!({ "title": "Look at this" })).await;
            path = path.replace("{id}", &ticket.expect(201)["id"].to_string());
        } else if path == DOCUMENT.path {
            path = path.replace("{id}", &new_application(app, sender, scholarship).await.to_string());
        }
        let (unit, scholarship) = (unit.to_string(), scholarship.to_string());
        let body = multipart(&[
            ("name=\"title\"", b"Title"),
            ("name=\"unit\"", unit.as_bytes()),
            ("name=\"scholarship\"", scholarship.as_bytes()),
            (headers, bytes),
        ]);
        sender.send(Method::POST, &path, FORM, body).await
    }

    /// Fetches what was sent, as anyone who has its address.
    async fn fetch(&self, app: &TestApp, reply: &Reply) -> (String, Reply) {
        let address =
            reply.expect(self.status).pointer(self.address).and_then(|address| address.as_str()).expect("an address");
        let path = address.strip_prefix(app.base()).expect("an absolute address of ours").to_owned();
        assert!(path.starts_with(if self.public { "/media/" } else { "/api/files/" }), "{path}");
        let served = app.anonymous().get(&path).await;
        served.expect(200);
        (path, served)
    }
}

async fn new_scholarship(app: &TestApp) -> Id {
    let made = sqlx::query_scalar!(
        "insert into scholarships (name) select 'Scholarship ' || count(*) from scholarships returning id"
    );
    Id(made.fetch_one(&app.db).await.unwrap())
}

/// Without the server, so that the log has what the file did alone.
async fn new_application(app: &TestApp, student: &Person, scholarship: Id) -> Id {
    let made = sqlx::query_scalar!(
        "insert into scholarship_applications (student_id, scholarship_id) values ($1, $2) returning id",
        student.id.0,
        scholarship.0
    );
    Id(made.fetch_one(&app.db).await.unwrap())
}

/// A live row of a file.
#[derive(Debug, PartialEq)]
struct Kept {
    name: String,
    original_name: String,
    content_type: String,
    path: PathBuf,
}

/// The live files, of which each lies where it must, whole, and nothing else lies there.
async fn store(app: &TestApp) -> Vec<Kept> {
    let rows = sqlx::query!(
        r#"select name, original_name, content_type, public, size, sha256
             from stored_files
            where deleted_at is null
            order by id"#
    );
    let media = app.folder().join("media");
    let mut kept = Vec::new();
    for row in rows.fetch_all(&app.db).await.unwrap() {
        let path = media.join(if row.public { "public" } else { "private" }).join(&row.name);
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(i64::try_from(bytes.len()).unwrap(), row.size);
        assert_eq!(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes).as_ref(), row.sha256);
        let (stem, ending) = row.name.split_once('.').unwrap();
        assert!(stem.len() == 32 && stem.bytes().all(|b| b.is_ascii_hexdigit()), "the name is ours: {}", row.name);
        assert!(ending.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()), "{}", row.name);
        kept.push(Kept { path, name: row.name, original_name: row.original_name, content_type: row.content_type });
    }
    let expected: BTreeSet<PathBuf> = kept.iter().map(|file| file.path.clone()).collect();
    assert_eq!(everything_below(&media), expected, "the folder holds what the rows say");
    kept
}

fn everything_below(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(everything_below(&entry.path()));
        } else {
            found.insert(entry.path());
        }
    }
    found
}

/// What the server has beside its store.
fn elsewhere(app: &TestApp) -> BTreeSet<PathBuf> {
    let media = app.folder().join("media");
    everything_below(app.folder()).into_iter().filter(|path| !path.starts_with(&media)).collect()
}

/// What was written, but for the tickets and achievements that files are sent to.
async fn audited(app: &TestApp) -> i64 {
    let rows = sqlx::query_scalar!(
        r#"select count(*) as "count!"
             from audit_log
            where not (action = 'create' and resource_type in ('ticket', 'achievement'))"#
    );
    rows.fetch_one(&app.db).await.unwrap()
}

/// That a browser takes it for what it is and runs nothing of it.
fn check_served(what: &str, served: &Reply, kept_as: &str) {
    assert_eq!(served.header("content-type"), Some(kept_as), "{what}");
    let inline = kept_as.starts_with("image/") || kept_as == "application/pdf";
    let place = served.header("content-disposition").unwrap();
    let (place, exact) = place.split_once("; filename*=UTF-8''").unwrap_or((place, ""));
    assert!(exact.chars().all(|c| c.is_ascii_alphanumeric() || "._-%".contains(c)), "{what}: {exact}");
    let name = place.strip_prefix(if inline { "inline; filename=\"" } else { "attachment; filename=\"" });
    let name = name.and_then(|name| name.strip_suffix('"')).unwrap_or_else(|| panic!("{what}: {place}"));
    assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || "._- ".contains(c)), "{what}: {place}");
    assert_eq!(served.header("x-content-type-options"), Some("nosniff"), "{what}");
    assert_eq!(served.header("content-security-policy"), Some("default-src 'none'; sandbox"), "{what}");
}

/// Sends the whole corpus.
async fn send_everything(route: Route) {
    let app = TestApp::start().await;
    let (sender, unit) = (app.person(route.sender).await, app.unit().await);
    let beside = elsewhere(&app);
    let mut taken = 0;
    for sample in corpus() {
        let what = format!("{} to {}", sample.what, route.path);
        let before = (store(&app).await, audited(&app).await);
        let headers = format!("name=\"file\"; filename=\"{}\"\r\nContent-Type: {}", sample.name, sample.declared);
        let started = Instant::now();
        let reply = route.send(&app, &sender, unit, &headers, &sample.bytes).await;
        assert!(started.elapsed() < Duration::from_secs(5), "{what} took {:?}", started.elapsed());
        let Some(kept_as) = sample.kept_as.filter(|kept_as| route.takes(kept_as)) else {
            assert_eq!((reply.status.as_u16(), reply.errors("file").len()), (400, 1), "{what}: {}", reply.body);
            assert_eq!((store(&app).await, audited(&app).await), before, "{what}");
            continue;
        };
        taken += 1;
        assert_eq!(reply.status.as_u16(), route.status, "{what}: {}", reply.body);
        let kept = store(&app).await;
        let newest = kept.last().unwrap();
        // Its name ends in what it is, whatever its sender says.
        let ending = newest.name.rsplit('.').next().unwrap();
        let ending = if ending.starts_with("txt") { "txt" } else { ending };
        let is_right = sample.name.ends_with(&format!(".{ending}")) || sample.name == "a.csv";
        let left = if is_right { sample.name.to_owned() } else { format!("{}.{ending}", sample.name) };
        assert_eq!((newest.content_type.as_str(), &newest.original_name), (kept_as, &left), "{what}");
        let (path, served) = route.fetch(&app, &reply).await;
        check_served(&what, &served, kept_as);
        let public = format!("/media/{}", newest.name);
        if route.public {
            assert_eq!(path, public, "{what}");
        } else {
            assert_eq!(app.anonymous().get(&public).await.status, 404, "{what}");
            assert_eq!(app.anonymous().get(path.split_once('?').unwrap().0).await.status, 403, "{what}");
        }
        if kept_as.starts_with("image/") {
            let text = String::from_utf8_lossy(&served.bytes);
            assert!(!TRACES.iter().any(|trace| text.contains(trace)), "{what}: something rode along");
            let shown = image::load_from_memory(&served.bytes).unwrap();
            assert_eq!((shown.width(), shown.height()), (8, 6), "{what}");
        } else {
            assert_eq!(served.bytes, sample.bytes, "{what}");
        }
    }
    assert!(taken >= 10, "{taken}");
    assert_eq!(elsewhere(&app), beside, "a file lies outside of the store");
    app.check_invariants().await;
}

#[tokio::test]
async fn what_cannot_be_opened_here_is_refused_with_what_to_send_instead() {
    let app = TestApp::start().await;
    let (sender, unit) = (app.person(TICKET.sender).await, app.unit().await);
    for (what, says) in [
        ("HEIC", "Photos in HEIC are not taken. Set the camera to Most Compatible, or send the photo as JPEG."),
        (
            "document with a password",
            "This document is protected by a password, so nobody here could open it. Save it without one.",
        ),
    ] {
        let sample = corpus().into_iter().find(|sample| sample.what == what).unwrap();
        let reply = TICKET.send(&app, &sender, unit, "name=\"file\"; filename=\"a\"", &sample.bytes).await;
        assert_eq!(reply.errors("file"), [says], "{what}");
    }
}

/// Sends a picture under every name.
async fn send_every_name(route: Route) {
    let app = TestApp::start().await;
    let (sender, unit) = (app.person(route.sender).await, app.unit().await);
    let beside = elsewhere(&app);
    let mark = format!("{}.png", app.folder().file_name().unwrap().to_str().unwrap());
    for (name, left) in names(&mark) {
        let reply = route.send(&app, &sender, unit, &format!("name=\"file\"; filename=\"{name}\""), &png()).await;
        let what = format!("{name:?} to {}: {}", route.path, reply.body);
        assert_eq!(reply.status.as_u16(), route.status, "{what}");
        let kept = store(&app).await;
        assert_eq!(kept.last().unwrap().original_name, left, "{what}");
        check_served(&what, &route.fetch(&app, &reply).await.1, "image/png");
    }
    let before = store(&app).await;
    for headers in [
        "name=\"file\"; filename=\"a\0.png\"",
        "name=\"file\"; filename=\"../a.png\0\"",
        "name=\"fi\0le\"; filename=\"a.png\"",
        "name=\"../file\"; filename=\"a.png\"",
    ] {
        assert_eq!(route.send(&app, &sender, unit, headers, &png()).await.status, 400, "{headers} to {}", route.path);
    }
    assert_eq!(store(&app).await, before);
    // Nor does one lie where a name pointed to.
    let here = std::env::current_dir().unwrap();
    let private = app.folder().join("media/private");
    for folder in private.ancestors().chain(here.ancestors()).chain([Path::new("/tmp"), Path::new("/root")]) {
        assert!(!folder.join(&mark).exists(), "{}", folder.display());
    }
    assert_eq!(elsewhere(&app), beside, "a file lies outside of the store");
    app.check_invariants().await;
}

#[tokio::test]
async fn a_badge_is_judged_by_its_bytes() {
    send_everything(BADGE).await;
}

#[tokio::test]
async fn a_picture_of_a_person_is_judged_by_its_bytes() {
    send_everything(PICTURE).await;
}

#[tokio::test]
async fn a_file_of_a_ticket_is_judged_by_its_bytes() {
    send_everything(TICKET).await;
}

#[tokio::test]
async fn a_resource_of_the_library_is_judged_by_its_bytes() {
    send_everything(LIBRARY).await;
}

#[tokio::test]
async fn a_file_of_the_media_is_judged_by_its_bytes() {
    send_everything(MEDIA).await;
}

#[tokio::test]
async fn a_resource_of_a_unit_is_judged_by_its_bytes() {
    send_everything(UNIT).await;
}

#[tokio::test]
async fn a_document_that_comes_with_an_application_is_judged_by_its_bytes() {
    send_everything(APPLICATION).await;
}

#[tokio::test]
async fn a_document_of_an_application_is_judged_by_its_bytes() {
    send_everything(DOCUMENT).await;
}

#[tokio::test]
async fn what_the_sender_calls_a_file_is_never_a_path() {
    tokio::join!(
        send_every_name(PICTURE),
        send_every_name(TICKET),
        send_every_name(LIBRARY),
        send_every_name(MEDIA),
        send_every_name(UNIT),
        send_every_name(BADGE),
        send_every_name(APPLICATION),
        send_every_name(DOCUMENT)
    );
}

#[tokio::test]
async fn an_import_keeps_no_file_whatever_is_sent() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    for sample in corpus() {
        let headers = format!("name=\"data\"; filename=\"{}\"\r\nContent-Type: text/csv", sample.name);
        for import in IMPORTS {
            let reply = admin.send(Method::POST, import, FORM, multipart(&[(&headers, &sample.bytes)])).await;
            assert_eq!(reply.status, 400, "{} to {import}: {}", sample.what, reply.body);
        }
    }
    assert_eq!(store(&app).await, []);
    assert_eq!(audited(&app).await, 0);
}

#[tokio::test]
async fn no_route_takes_a_file_that_is_not_tested_here() {
    let app = TestApp::start().await;
    let document = app.anonymous().get("/api/schema/").await;
    let mut found = BTreeSet::new();
    for (path, methods) in document.expect(200)["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            if operation["requestBody"]["content"].get("multipart/form-data").is_some() {
                found.insert(format!("{method} {path}"));
            }
        }
    }
    let tested = [PICTURE, TICKET, LIBRARY, MEDIA, UNIT, BADGE, APPLICATION, DOCUMENT].map(|route| route.path);
    let tested: BTreeSet<String> = tested.iter().chain(&IMPORTS).map(|path| format!("post {path}")).collect();
    assert_eq!(found, tested);
}

#[tokio::test]
async fn a_file_is_not_looked_at_for_somebody_who_may_not_put_it_there() {
    let app = TestApp::start().await;
    let (student, other, convenor) = (app.student().await, app.student().await, app.person("unit_convenor").await);
    let ticket = other.post("/api/core/tickets/", &json!({ "title": "Mine" })).await.expect(201)["id"].clone();
    let application = new_application(&app, &other, new_scholarship(&app).await).await;
    let unit = app.unit().await;
    // Whoever looked would say that it is no whole picture.
    let broken = &png()[..60];
    let send = async |person: &Person, path: &str| {
        let unit = unit.to_string();
        let parts = [
            ("name=\"title\"", b"Title".as_slice()),
            ("name=\"unit\"", unit.as_bytes()),
            ("name=\"file\"; filename=\"a.png\"", broken),
        ];
        person.send(Method::POST, path, FORM, multipart(&parts)).await.status.as_u16()
    };
    for (person, path, status) in [
        (&student, format!("/api/core/tickets/{ticket}/files/"), 404),
        (&student, "/api/core/tickets/999/files/".to_owned(), 404),
        (&student, format!("/api/users/scholarship-applications/{application}/documents/"), 404),
        (&student, "/api/core/media/".to_owned(), 403),
        (&student, "/api/academic/unit-resources/".to_owned(), 403),
        (&convenor, "/api/academic/unit-resources/".to_owned(), 403),
        (&student, "/api/social/achievements/1/badge_image/".to_owned(), 403),
        (&app.staff().await, "/api/social/achievements/999/badge_image/".to_owned(), 404),
        (&other, format!("/api/core/tickets/{ticket}/files/"), 400),
    ] {
        assert_eq!(send(person, &path).await, status, "{path}");
    }
}

#[tokio::test]
async fn a_picture_of_too_many_pixels_is_refused_by_its_head_in_words_that_help() {
    let app = TestApp::start().await;
    let student = app.student().await;
    // 8000 × 8000, and none of them is there.
    let mut head = png();
    head[16..24].copy_from_slice(&[0, 0, 0x1f, 0x40, 0, 0, 0x1f, 0x40]);
    let crc = crc32(&head[12..29]);
    head[29..33].copy_from_slice(&crc.to_be_bytes());
    let body = multipart(&[("name=\"file\"; filename=\"a.png\"", head.as_slice())]);
    let reply = student.send(Method::POST, PICTURE.path, FORM, body).await;
    assert_eq!(
        reply.errors("file"),
        [
            "This picture is too large: 8000 × 8000 pixels. At most 8192 a side are taken, and 24 million in all; fewer with \
          transparency or more than 8 bits a colour."
        ],
        "{}",
        reply.body
    );
}

/// As PNG has it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 })
    })
}

#[tokio::test]
async fn a_persons_picture_is_made_small_and_upright() {
    let app = TestApp::start().await;
    let student = app.student().await;
    let exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let sideways = crate::support::corpus::jpeg_with(0xE1, exif, 2000, 1000);
    let body = multipart(&[("name=\"file\"; filename=\"a.jpg\"", sideways.as_slice())]);
    let reply = student.send(Method::POST, PICTURE.path, FORM, body).await;
    let (_, served) = PICTURE.fetch(&app, &reply).await;
    let picture = image::load_from_memory(&served.bytes).unwrap();
    assert_eq!((picture.width(), picture.height()), (512, 1024));
}

#[tokio::test]
async fn what_is_deleted_is_not_served_any_more_and_is_again_when_it_comes_back() {
    let app = TestApp::start().await;
    let (staff, admin) = (app.staff().await, app.admin().await);
    let unit = app.unit().await;
    let named = "name=\"file\"; filename=\"a.png\"";
    for route in [MEDIA, LIBRARY, BADGE] {
        let made = route.send(&app, &staff, unit, named, &png()).await;
        let (address, _) = route.fetch(&app, &made).await;
        let base = if route.path == BADGE.path { ACHIEVEMENTS } else { route.path };
        let path = format!("{base}{}/", made.body["id"]);
        let name = address.rsplit('/').next().unwrap();
        let lies = |folder: &str| app.folder().join("media").join(folder).join(name).exists();
        assert!(lies("public") && !lies("private"), "{address}");

        staff.delete(&path).await.expect(204);
        assert_eq!(app.anonymous().get(&address).await.status, 404, "{address}");
        assert!(!lies("public") && lies("private"), "{address}");

        admin.post_bare(&format!("{path}restore/")).await.expect(200);
        app.anonymous().get(&address).await.expect(200);
        assert!(lies("public"), "{address}");
    }
}

#[tokio::test]
async fn a_file_that_was_not_moved_after_the_commit_is_moved_by_the_sweep() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let made = MEDIA.send(&app, &staff, app.unit().await, "name=\"file\"; filename=\"a.png\"", &png()).await;
    let (address, _) = MEDIA.fetch(&app, &made).await;
    // As when the process ended between the two.
    let id = made.body["id"].as_i64().unwrap();
    let sql = sqlx::query!("update media_assets set deleted_at = rule_now() where id = $1", id);
    sql.execute(&app.db).await.unwrap();
    app.anonymous().get(&address).await.expect(200);
    let _sweeping = app.another_server().with_background().start().await;
    app.until("it is gone", async || app.anonymous().get(&address).await.status == 404).await;
}

#[tokio::test]
async fn a_student_has_half_a_gigabyte_of_files_and_no_more() {
    let app = TestApp::start().await;
    let student = app.student().await;
    let held = async |bytes: i64| {
        let sql = sqlx::query!(
            "insert into stored_files (name, original_name, sha256, size, content_type, public, created_by)
             values ('held.txt', 'held.txt', sha256(''), $1, 'text/plain', false, $2)
             on conflict do nothing",
            bytes,
            student.id.0
        );
        sql.execute(&app.db).await.unwrap();
    };
    let send = async || {
        let body = multipart(&[("name=\"file\"; filename=\"a.png\"", png().as_slice())]);
        student.send(Method::POST, PICTURE.path, FORM, body).await
    };
    let share = 500 * 1024 * 1024;
    held(share - 100_000).await;
    send().await.expect(200);
    let more = sqlx::query!("update stored_files set size = $1 where name = 'held.txt'", share);
    more.execute(&app.db).await.unwrap();
    let refused = send().await;
    assert_eq!(refused.refusal(), (409, "files_full"), "{}", refused.body);
    let folder = app.folder().join("media/public");
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 1, "what was refused left something");
}
