//! Serving files: public ones to everybody, private ones to the holder of a link; and what the store takes.

use std::path::PathBuf;

use axum::http::Method;
use swincms::files::{Accepts, Admitted, UploadedFile};
use swincms::ids::Id;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{TestApp, Upload};

/// A file with its row, as an upload leaves one.
async fn stored(app: &TestApp, name: &str, original_name: &str, content_type: &str, public: bool, bytes: &[u8]) -> Id {
    let folder = app.folder().join("media").join(if public { "public" } else { "private" });
    std::fs::write(folder.join(name), bytes).unwrap();
    let id = sqlx::query_scalar!(
        "insert into stored_files (name, original_name, sha256, size, content_type, public)
         values ($1, $2, sha256($3), $4, $5, $6)
         returning id",
        name,
        original_name,
        bytes,
        i64::try_from(bytes.len()).unwrap(),
        content_type,
        public
    );
    Id(id.fetch_one(&app.db).await.unwrap())
}

/// The signed link to a private file, as resources show it now.
fn link(app: &TestApp, file: Id) -> String {
    app.state.links.private(app.base(), file, app.clock.now())
}

#[tokio::test]
async fn a_private_file_is_served_to_the_holder_of_a_link() {
    let app = TestApp::start().await;
    let bytes = b"%PDF-1.7 a plan";
    let file = stored(&app, "abc123.pdf", "Plan \"B\" – für alle.pdf", "application/pdf", false, bytes).await;
    let address = link(&app, file);
    assert!(address.starts_with(&format!("{}/api/files/{file}/?exp=", app.base())), "{address}");

    let reply = app.anonymous().get(&address).await;
    reply.expect(200);
    assert_eq!(reply.bytes, bytes);
    assert_eq!(reply.header("content-type"), Some("application/pdf"));
    assert_eq!(
        reply.header("content-disposition"),
        Some(
            "inline; filename=\"Plan _B_ _ fur alle.pdf\"; filename*=UTF-8''Plan%20%22B%22%20%E2%80%93%20f%C3%BCr%20alle.pdf"
        )
    );
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(reply.header("content-security-policy"), Some("default-src 'none'; sandbox"));
    assert_eq!(reply.header("cache-control"), Some("private, no-store"));
    assert_eq!(reply.header("content-length"), Some("15"));

    let head = app.anonymous().head(&address).await;
    assert_eq!((head.status.as_u16(), head.header("content-length"), head.bytes.len()), (200, Some("15"), 0));
    // The link alone decides, as it must where a browser opens it: a bad token is not looked at.
    assert_eq!(app.anonymous().with("Authorization", "Bearer x").get(&address).await.status, 200);
    let bare = address.replace("/?exp", "?exp");
    assert_eq!(app.anonymous().get(&bare).await.status, 200, "without the slash");
}

#[tokio::test]
async fn a_file_that_a_browser_might_run_is_offered_for_saving() {
    let app = TestApp::start().await;
    for (number, (content_type, place)) in [
        ("text/plain; charset=utf-8", "attachment"),
        ("application/zip", "attachment"),
        ("application/msword", "attachment"),
        ("text/html", "attachment"),
        ("image/svg+xml", "attachment"),
        ("application/pdf", "inline"),
        ("image/png", "inline"),
    ]
    .into_iter()
    .enumerate()
    {
        let file = stored(&app, &format!("f{number}.bin"), "x.html", content_type, false, b"<script>").await;
        let reply = app.anonymous().get(&link(&app, file)).await;
        reply.expect(200);
        assert_eq!(reply.header("content-disposition"), Some(format!("{place}; filename=\"x.html\"").as_str()));
        assert_eq!(reply.header("content-security-policy"), Some("default-src 'none'; sandbox"));
    }
}

#[tokio::test]
async fn a_link_is_valid_for_ten_minutes() {
    let app = TestApp::start().await;
    let file = stored(&app, "a.pdf", "a.pdf", "application/pdf", false, b"x").await;
    app.set_time("2026-03-02T02:00:59Z").await;
    let address = link(&app, file);
    for (now, expected) in [("2026-03-02T02:10:59Z", 200), ("2026-03-02T02:11:00Z", 403), ("2026-03-03T00:00:00Z", 403)]
    {
        app.set_time(now).await;
        assert_eq!(app.anonymous().get(&address).await.status.as_u16(), expected, "{now}");
    }
    // A new one works again, at every server with the same secret.
    let other = app.second_server().await;
    assert_eq!(app.anonymous().at(&other).get(&link(&app, file).replace(app.base(), "")).await.status, 200);
    let stranger = app.another_server().with("SECRET_KEY", &"another key, ".repeat(4)).start().await;
    assert_eq!(app.anonymous().at(&stranger).get(&link(&app, file).replace(app.base(), "")).await.status, 403);
}

#[tokio::test]
async fn a_link_that_is_not_ours_or_is_anothers_is_refused() {
    let app = TestApp::start().await;
    let file = stored(&app, "a.pdf", "a.pdf", "application/pdf", false, b"x").await;
    let other = stored(&app, "b.pdf", "b.pdf", "application/pdf", false, b"y").await;
    let good = link(&app, file);
    let (start, query) = good.split_once('?').unwrap();
    let (until, signature) = query.strip_prefix("exp=").unwrap().split_once("&sig=").unwrap();
    let later = until.parse::<i64>().unwrap() + 3600;
    let mut forged = vec![
        good.replace(&format!("/{file}/"), &format!("/{other}/")),
        start.to_owned(),
        format!("{start}?exp={until}"),
        format!("{start}?sig={signature}"),
        format!("{start}?exp={later}&sig={signature}"),
        format!("{start}?exp={until}&sig="),
        format!("{start}?exp=&sig={signature}"),
        format!("{start}?exp={until}0&sig={signature}"),
        format!("{start}?exp=9223372036854775808&sig={signature}"),
        format!("{start}?exp=-1&sig={signature}"),
        format!("{start}?exp={until}&sig={}", signature.to_lowercase()),
        format!("{start}?exp={until}&sig={signature}="),
        format!("{start}?exp={until}&sig={}", &signature[..signature.len() - 2]),
        format!("{start}?exp={until}&sig={signature}AA"),
        format!("{start}?exp={until}&sig=%FF%FE"),
    ];
    // Every letter of the signature counts, but for the bits of the last that stand for nothing.
    for place in 0..signature.len() - 1 {
        let mut letters: Vec<char> = signature.chars().collect();
        letters[place] = if letters[place] == 'A' { 'B' } else { 'A' };
        forged.push(format!("{start}?exp={until}&sig={}", letters.into_iter().collect::<String>()));
    }
    for address in forged {
        let reply = app.anonymous().get(&address).await;
        assert_eq!(reply.refusal(), (403, "permission_denied"), "{address}");
    }
    let twice = app.anonymous().get(&format!("{start}?exp={until}&sig={signature}&exp={later}")).await;
    assert_eq!(twice.refusal(), (400, "invalid"), "which of the two would count?");
    // The same for a file that is not there, so that links tell nobody which files there are.
    assert_eq!(app.anonymous().get("/api/files/9007199254740990/?exp=1&sig=x").await.status, 403);
    assert_eq!(app.anonymous().get("/api/files/0/").await.status, 404);
    assert_eq!(app.anonymous().get(&format!("{start}?exp=%00")).await.status, 400);
    let admin = app.admin().await;
    assert_eq!(admin.get(start).await.status, 403, "whoever asks");
    assert_eq!(app.anonymous().get(&good).await.status, 200);
}

#[tokio::test]
async fn what_is_public_deleted_or_lost_is_not_served_as_private() {
    let app = TestApp::start().await;
    let public = stored(&app, "p.png", "p.png", "image/png", true, b"x").await;
    let deleted = stored(&app, "d.pdf", "d.pdf", "application/pdf", false, b"x").await;
    let lost = stored(&app, "l.pdf", "l.pdf", "application/pdf", false, b"x").await;
    let gone = sqlx::query!("update stored_files set deleted_at = now() where id = $1", deleted.0);
    gone.execute(&app.db).await.unwrap();
    std::fs::remove_file(app.folder().join("media/private/l.pdf")).unwrap();
    for file in [public, deleted, lost, Id(9_007_199_254_740_990)] {
        assert_eq!(app.anonymous().get(&link(&app, file)).await.refusal(), (404, "not_found"));
    }
    assert_eq!(app.anonymous().get("/media/d.pdf").await.status, 404, "nor is a private one public");
}

#[tokio::test]
async fn behind_nginx_the_server_names_the_file_and_nginx_sends_it() {
    let app = TestApp::with(&[("ACCEL_REDIRECT", "/protected/")]).await;
    let file = stored(&app, "abc.pdf", "Plan.pdf", "application/pdf", false, b"x").await;
    let reply = app.anonymous().get(&link(&app, file)).await;
    reply.expect(200);
    assert_eq!(reply.header("x-accel-redirect"), Some("/protected/abc.pdf"));
    assert_eq!((reply.bytes.len(), reply.header("content-type")), (0, Some("application/pdf")));
    assert_eq!(reply.header("content-disposition"), Some("inline; filename=\"Plan.pdf\""));
    assert_eq!(reply.header("content-security-policy"), Some("default-src 'none'; sandbox"));
    assert_eq!(app.anonymous().get(&format!("/api/files/{file}/")).await.status, 403);

    // Where the server sends the file itself, the place stays its secret.
    let plain = TestApp::start().await;
    let file = stored(&plain, "abc.pdf", "Plan.pdf", "application/pdf", false, b"x").await;
    assert_eq!(plain.anonymous().get(&link(&plain, file)).await.header("x-accel-redirect"), None);
}

#[tokio::test]
async fn public_files_are_served_by_our_names_alone() {
    let app = TestApp::start().await;
    let media = app.folder().join("media");
    std::fs::write(media.join("public/abc.png"), b"picture").unwrap();
    std::fs::write(media.join("public/abc.txt"), b"<script>").unwrap();
    std::fs::write(media.join("public/.hidden"), b"secret").unwrap();
    std::fs::write(media.join("public/no_name.png"), b"secret").unwrap();
    std::fs::write(media.join("private/own.pdf"), b"secret").unwrap();
    std::fs::write(media.join("secret.png"), b"secret").unwrap();
    std::fs::create_dir(media.join("public/folder")).unwrap();

    let reply = app.anonymous().get("/media/abc.png").await;
    reply.expect(200);
    assert_eq!((reply.bytes.as_slice(), reply.header("content-type")), (&b"picture"[..], Some("image/png")));
    assert_eq!(app.anonymous().head("/media/abc.png").await.header("content-length"), Some("7"));
    let text = app.anonymous().get("/media/abc.txt").await;
    assert_eq!(text.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(text.header("content-disposition"), Some("attachment; filename=\"abc.txt\""));

    for name in [
        "",
        "nothing.png",
        ".hidden",
        "no_name.png",
        "folder",
        "..",
        "../secret.png",
        "..%2Fsecret.png",
        "..%2fprivate%2fown.pdf",
        "%2e%2e%2fsecret.png",
        "..%5Csecret.png",
        "....//secret.png",
        "%2Fetc%2Fpasswd",
        "folder/x.png",
        "abc.png%2F",
        "abc.png/../../secret.png",
        "~root",
        "abc%20.png",
        "%C3%A4.png",
        "%FF.png",
        "..%252Fsecret.png",
        "C:secret.png",
        &"a".repeat(300),
    ] {
        let reply = raw(&app, &format!("/media/{name}")).await;
        assert_eq!(reply.0, 404, "{name}");
        assert!(!reply.1.contains("secret") || name.contains("secret"), "{name}: {}", reply.1);
    }
    assert_eq!(raw(&app, "/media/a%00.png").await.0, 400);
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        assert_eq!(app.anonymous().call(method, "/media/abc.png").await.status, 405);
    }
}

/// Asks for a path as it is spelt: a client's library would tidy it up first.
async fn raw(app: &TestApp, path: &str) -> (u16, String) {
    let host = app.base().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.get(9..12).unwrap_or_else(|| panic!("no answer to {path}"));
    (status.parse().unwrap(), answer)
}

fn private(app: &TestApp) -> Vec<PathBuf> {
    std::fs::read_dir(app.folder().join("media/private")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test]
async fn a_file_that_is_not_kept_is_removed() {
    let app = TestApp::start().await;
    let sender = app.staff().await.id;
    let file = UploadedFile::new("file", "a.txt", "hello");
    let admitted = Admitted::after(async { Ok(()) }).await.unwrap();
    let accepted = app.state.files.accept(&admitted, &file, Accepts::Documents).await.unwrap();
    let mut tx = app.transaction().await;
    let stored = app.state.files.put(&mut tx, sender, &accepted, false).await.unwrap();
    assert_eq!(private(&app).len(), 1);
    tx.rollback().await.unwrap();
    drop(stored);
    assert!(private(&app).is_empty());

    // Nor does a disk that refuses leave a row or half a file.
    let folder = app.folder().join("media/private");
    std::fs::remove_dir(&folder).unwrap();
    let mut tx = app.transaction().await;
    let failed = app.state.files.put(&mut tx, sender, &accepted, false).await;
    assert_eq!(failed.unwrap_err().status().as_u16(), 500);
    tx.rollback().await.unwrap();
    std::fs::create_dir(&folder).unwrap();
    assert!(private(&app).is_empty());
}

#[tokio::test]
async fn a_resource_of_a_unit_is_stored_privately_and_linked() {
    let app = TestApp::start().await;
    let (staff, unit) = (app.staff().await, app.unit().await);
    let form = Upload::of("file", "../Plan.pdf", "%PDF-1.7\n%%EOF").and("unit", unit).and("title", "Plan");
    let reply = staff.upload("/api/academic/unit-resources/", form).await;
    let address = reply.expect(201)["file"].as_str().unwrap().to_owned();
    let served = app.anonymous().get(&address).await;
    assert_eq!((served.status.as_u16(), served.bytes.as_slice()), (200, &b"%PDF-1.7\n%%EOF"[..]));
    assert_eq!(served.header("content-disposition"), Some("inline; filename=\"Plan.pdf\""));
    assert_eq!(private(&app).len(), 1);

    for (what, form) in [
        ("a page", Upload::of("file", "p.pdf", "<html>").and("unit", unit).and("title", "Page")),
        ("no title", Upload::of("file", "p.pdf", "%PDF-1.7").and("unit", unit)),
        ("no unit", Upload::of("file", "p.pdf", "%PDF-1.7").and("title", "Plan")),
    ] {
        assert_eq!(staff.upload("/api/academic/unit-resources/", form).await.status, 400, "{what}");
    }
    let rows = sqlx::query_scalar!(r#"select count(*) as "count!" from stored_files"#);
    assert_eq!((private(&app).len(), rows.fetch_one(&app.db).await.unwrap()), (1, 1));
}
