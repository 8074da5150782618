//! The picture of a person: what is made of it, and what is left when it is refused. Which files are pictures is in `uploads`.

use std::io::Cursor;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::Method;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::corpus::{exif_held_upright, jpeg_with, multipart, picture, png};
use crate::support::{Person, Reply, TestApp, Upload};

const IMAGE: &str = "/api/users/users/me/profile_image/";
const ME: &str = "/api/users/users/me/";

/// The files that the server keeps, in both folders.
fn files(app: &TestApp) -> Vec<PathBuf> {
    let folders = ["public", "private"].map(|folder| app.folder().join("media").join(folder));
    let mut found: Vec<PathBuf> = folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    found.sort();
    found
}

/// Rows of files: live ones and all.
async fn rows(app: &TestApp) -> (i64, i64) {
    let counts = sqlx::query!(
        r#"select count(*) filter (where deleted_at is null) as "live!", count(*) as "all!" from stored_files"#
    );
    let counts = counts.fetch_one(&app.db).await.unwrap();
    (counts.live, counts.all)
}

async fn send(person: &Person, name: &str, bytes: impl Into<Vec<u8>>) -> Reply {
    person.upload(IMAGE, Upload::of("file", name, bytes)).await
}

/// Fetches the picture that a user shows, as anyone.
async fn fetch(app: &TestApp, user: &Value) -> Reply {
    let address = user["profile_image"].as_str().expect("a picture");
    let path = address.strip_prefix(app.base()).expect("an absolute address of ours");
    assert!(path.starts_with("/media/"), "{address}");
    let reply = app.anonymous().get(path).await;
    reply.expect(200);
    reply
}

#[tokio::test]
async fn each_kind_of_picture_is_taken_and_served_as_what_it_is() {
    let app = TestApp::start().await;
    let (student, staff) = (app.student().await, app.staff().await);
    for (format, media_type, ending) in [
        (ImageFormat::Png, "image/png", ".png"),
        (ImageFormat::Jpeg, "image/jpeg", ".jpg"),
        (ImageFormat::WebP, "image/webp", ".webp"),
        // The first picture of what may be an animation.
        (ImageFormat::Gif, "image/png", ".png"),
    ] {
        // The name and its ending say nothing.
        let reply = send(&student, "me.html", picture(format, 8, 6)).await;
        let user = reply.expect(200);
        assert_eq!(user["id"], json!(student.id));
        let address = user["profile_image"].as_str().unwrap();
        assert!(address.ends_with(ending) && address.starts_with(&format!("{}/media/", app.base())), "{address}");
        for seen in [
            student.get(ME).await.expect(200).clone(),
            staff.get(&format!("/api/users/users/{}/", student.id)).await.expect(200).clone(),
            staff.get("/api/users/students/").await.expect(200)[0].clone(),
        ] {
            assert_eq!(seen["profile_image"], user["profile_image"]);
        }

        let served = fetch(&app, user).await;
        assert_eq!(served.header("content-type"), Some(media_type), "{format:?}");
        assert_eq!(served.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(served.header("content-security-policy"), Some("default-src 'none'; sandbox"));
        assert!(served.header("content-disposition").unwrap().starts_with("inline;"));
        assert!(served.header("cache-control").unwrap().contains("max-age=86400"));
        let length = served.header("content-length").unwrap();
        assert_eq!(length, served.bytes.len().to_string());
        let shown = image::load_from_memory(&served.bytes).unwrap();
        assert_eq!((shown.width(), shown.height()), (8, 6));
    }
    assert_eq!((files(&app).len(), rows(&app).await), (1, (1, 4)));
}

#[tokio::test]
async fn a_new_picture_takes_the_place_of_the_one_before_whose_bytes_go() {
    let app = TestApp::start().await;
    let student = app.student().await;
    let first = send(&student, "a.png", png()).await.expect(200)["profile_image"].clone();
    let second = send(&student, "b.jpg", picture(ImageFormat::Jpeg, 9, 9)).await.expect(200)["profile_image"].clone();
    assert_ne!(first, second);
    let path = |url: &Value| url.as_str().unwrap().strip_prefix(app.base()).unwrap().to_owned();
    assert_eq!(app.anonymous().get(&path(&first)).await.status, 404);
    app.anonymous().get(&path(&second)).await.expect(200);
    assert_eq!((files(&app).len(), rows(&app).await), (1, (1, 2)));

    // Somebody else's picture is left alone.
    let other = app.staff().await;
    send(&other, "c.png", png()).await.expect(200);
    send(&student, "d.png", png()).await.expect(200);
    assert_eq!((files(&app).len(), rows(&app).await), (2, (2, 4)));
    let row = sqlx::query!(
        r#"select f.name, f.size, f.content_type, f.original_name, f.created_by, f.public, encode(f.sha256, 'hex') as "hash!"
             from users u
             join stored_files f on f.id = u.profile_image_id
            where u.id = $1"#,
        student.id.0
    );
    let row = row.fetch_one(&app.db).await.unwrap();
    let kept = std::fs::read(app.folder().join("media/public").join(&row.name)).unwrap();
    let hash: String = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &kept)
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!((row.size, row.hash), (i64::try_from(kept.len()).unwrap(), hash));
    assert_eq!((row.content_type.as_str(), row.original_name.as_str()), ("image/png", "d.png"));
    assert_eq!((row.created_by, row.public), (Some(student.id.0), true));
}

#[tokio::test]
async fn a_picture_stands_upright_however_the_camera_was_held() {
    let app = TestApp::start().await;
    let student = app.student().await;
    let reply = send(&student, "x.jpg", jpeg_with(0xE1, &exif_held_upright(), 30, 10)).await;
    let served = fetch(&app, reply.expect(200)).await;
    let shown = image::load_from_memory(&served.bytes).unwrap();
    assert_eq!((shown.width(), shown.height()), (10, 30));
}

#[tokio::test]
async fn transparent_and_sixteen_bit_pictures_are_taken_too() {
    let app = TestApp::start().await;
    let student = app.student().await;
    let clear = RgbaImage::from_pixel(4, 4, Rgba([1, 2, 3, 0]));
    for (picture, format) in [
        (DynamicImage::ImageRgba8(clear.clone()), ImageFormat::Png),
        (DynamicImage::ImageRgba8(clear.clone()), ImageFormat::WebP),
        (DynamicImage::ImageRgba8(clear), ImageFormat::Gif),
        (DynamicImage::new_rgba16(4, 4), ImageFormat::Png),
        (DynamicImage::new_luma_a16(4, 4), ImageFormat::Png),
        (DynamicImage::new_luma8(4, 4), ImageFormat::Jpeg),
    ] {
        let mut out = Cursor::new(Vec::new());
        picture.write_to(&mut out, format).unwrap();
        let reply = send(&student, "x", out.into_inner()).await;
        fetch(&app, reply.expect(200)).await;
    }
}

#[tokio::test]
async fn a_malformed_upload_is_refused_with_its_reason() {
    let app = TestApp::start().await;
    let student = app.student().await;
    let form = "multipart/form-data; boundary=limit";
    let one = r#"name="file"; filename="a.png""#;
    let picture = png();
    let whole = multipart(&[(one, &picture)]);
    let cut = whole[..whole.len() - 30].to_vec();
    let names: Vec<String> = (0..60).map(|number| format!("name=\"note{number}\"")).collect();
    let notes: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"x"[..])).collect();
    // What is sent as what, the status, and whether `file` is at fault.
    let cases: Vec<(&str, &str, Vec<u8>, u16, bool)> = vec![
        ("JSON", "application/json", b"{}".to_vec(), 415, false),
        ("no type", "", whole.clone(), 415, false),
        ("another form", "application/x-www-form-urlencoded", b"file=x".to_vec(), 415, false),
        ("no boundary", "multipart/form-data", whole.clone(), 400, false),
        ("another boundary", "multipart/form-data; boundary=other", whole.clone(), 400, false),
        ("nothing", form, Vec::new(), 400, false),
        ("no part", form, b"--limit--\r\n".to_vec(), 400, true),
        ("cut off", form, cut, 400, false),
        ("two files", form, multipart(&[(one, &picture), (r#"name="file"; filename="b.png""#, &picture)]), 400, true),
        ("another field", form, multipart(&[(r#"name="picture"; filename="a.png""#, &picture)]), 400, true),
        ("text in its place", form, multipart(&[(r#"name="file""#, b"words")]), 400, true),
        ("NUL in the file's name", form, multipart(&[("name=\"file\"; filename=\"a\0.png\"", &picture)]), 400, false),
        ("NUL in the field's name", form, multipart(&[("name=\"fi\0le\"; filename=\"a.png\"", &picture)]), 400, false),
        ("NUL in a text", form, multipart(&[(one, &picture), ("name=\"note\"", b"a\0b")]), 400, false),
        ("bad UTF-8 in a text", form, multipart(&[(one, &picture), ("name=\"note\"", b"\xff\xfe")]), 400, false),
        ("too many fields", form, multipart(&notes), 400, false),
    ];
    for (what, media_type, body, status, at_fault) in cases {
        let reply = student.send(Method::POST, IMAGE, media_type, body).await;
        assert_eq!(reply.status.as_u16(), status, "{what}: {}", reply.body);
        assert_eq!(reply.errors("file").len(), usize::from(at_fault), "{what}: {}", reply.body);
    }
    assert_eq!((files(&app).len(), rows(&app).await), (0, (0, 0)));
    // Unknown text fields are ignored, like everywhere.
    let beside = multipart(&[("name=\"note\"", b"hello"), (one, &picture)]);
    student.send(Method::POST, IMAGE, form, beside).await.expect(200);
}

#[tokio::test]
async fn pictures_have_a_largest_size_that_is_larger_than_that_of_other_bodies() {
    let app = TestApp::with(&[("MAX_UPLOAD_MB", "3")]).await;
    let student = app.student().await;
    // Noise does not shrink: 1000 × 900 × 3 bytes.
    let mut state = 1_u32;
    let noise = RgbImage::from_fn(1000, 900, |_, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [_, r, g, b] = state.to_be_bytes();
        Rgb([r, g, b])
    });
    let mut large = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(noise).write_to(&mut large, ImageFormat::Png).unwrap();
    let large = large.into_inner();
    assert!(large.len() > 2_000_000 && large.len() < 3_000_000, "{}", large.len());
    let reply = send(&student, "large.png", large.clone()).await;
    fetch(&app, reply.expect(200)).await;

    let before = (files(&app), rows(&app).await);
    let limit = 3 * 1024 * 1024;
    for length in [limit + 1, limit + 500_000] {
        let mut bytes = large.clone();
        bytes.resize(length, 0);
        let reply = send(&student, "larger.png", bytes).await;
        assert_eq!(reply.refusal(), (413, "too_large"), "{length}");
    }
    let mut exact = large;
    exact.resize(limit, 0);
    send(&student, "exact.png", exact).await.expect(200);
    assert_eq!(files(&app).len(), before.0.len());

    let text = vec![b'x'; 2_000_000];
    let json = student.send(Method::PATCH, "/api/users/update_profile/", "application/json", text).await;
    assert_eq!(json.status, 413, "other bodies keep their own limit");
}

/// Sends the beginning of an upload, and no more until there is an answer; gives the answer as text.
///
/// A client that goes on sending may find the connection closed before it reads.
async fn begin(app: &TestApp, person: &Person, length: &str, body: &[u8]) -> String {
    let host = app.base().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).await.unwrap();
    let head = format!(
        "POST {IMAGE} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\n\
         Content-Type: multipart/form-data; boundary=limit\r\n{length}\r\n\r\n",
        person.access
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
    read.expect("the server waits for the rest of what it will not take").unwrap();
    String::from_utf8_lossy(&answer).to_lowercase()
}

#[tokio::test]
async fn too_large_a_body_is_refused_before_it_has_come() {
    let app = TestApp::with(&[("MAX_UPLOAD_MB", "1")]).await;
    let student = app.student().await;
    // A file may have 1 MiB, and what stands beside it another.
    let most = 2 * 1024 * 1024;
    let start = b"--limit\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\r\n";
    let announced = begin(&app, &student, &format!("Content-Length: {}", most + 1), b"").await;
    let vast = begin(&app, &student, "Content-Length: 9223372036854775807", b"").await;
    let mut chunk = format!("{:x}\r\n", most + 1).into_bytes();
    chunk.extend_from_slice(start);
    chunk.resize(chunk.len() + most + 1 - start.len(), b'x');
    let unannounced = begin(&app, &student, "Transfer-Encoding: chunked", &chunk).await;
    for answer in [announced, vast, unannounced] {
        assert!(answer.starts_with("http/1.1 413 ") && answer.contains("\r\nconnection: close\r\n"), "{answer}");
    }
    assert_eq!((files(&app).len(), rows(&app).await), (0, (0, 0)));
}

#[tokio::test]
async fn a_stranger_sends_no_bytes() {
    let app = TestApp::start().await;
    assert_eq!(app.anonymous().upload(IMAGE, Upload::of("file", "a.png", png())).await.status, 401);
    assert_eq!(
        app.anonymous().with("Authorization", "Bearer x").upload(IMAGE, Upload::of("file", "a", png())).await.status,
        401
    );
    assert_eq!((files(&app).len(), rows(&app).await), (0, (0, 0)));
}

#[tokio::test]
async fn a_picture_whose_row_does_not_commit_leaves_no_file() {
    let app = TestApp::start().await;
    let student = app.student().await;
    let had = send(&student, "a.png", png()).await.expect(200)["profile_image"].clone();
    let before = (files(&app), rows(&app).await);
    let broken = "create function fail() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$;
                  create trigger fail before insert on audit_log for each row execute function fail()";
    sqlx::raw_sql(broken).execute(&app.db).await.unwrap();
    assert_eq!(send(&student, "b.png", png()).await.status, 500);
    sqlx::raw_sql("drop trigger fail on audit_log").execute(&app.db).await.unwrap();
    assert_eq!((files(&app), rows(&app).await), before);
    assert_eq!(student.get(ME).await.expect(200)["profile_image"], had);
    fetch(&app, &student.get(ME).await.body).await;
}

#[tokio::test]
async fn a_repeated_upload_with_its_key_stores_one_picture() {
    let app = TestApp::start().await;
    let student = app.student().await;
    let form = "multipart/form-data; boundary=limit";
    let body = multipart(&[(r#"name="file"; filename="a.png""#, &png())]);
    let keyed = student.with("Idempotency-Key", "picture");
    let first = keyed.send(Method::POST, IMAGE, form, body.clone()).await;
    let again = keyed.send(Method::POST, IMAGE, form, body).await;
    assert_eq!((first.expect(200), again.expect(200)), (&first.body, &first.body));
    assert_eq!((files(&app).len(), rows(&app).await), (1, (1, 1)));
    let other = multipart(&[(r#"name="file"; filename="a.png""#, &picture(ImageFormat::Png, 3, 3))]);
    assert_eq!(keyed.send(Method::POST, IMAGE, form, other).await.status, 422);
    assert_eq!((files(&app).len(), rows(&app).await), (1, (1, 1)));
}

#[tokio::test]
async fn a_picture_has_the_address_that_the_public_knows() {
    let app = TestApp::with(&[("PUBLIC_URL", "https://cms.example.edu/")]).await;
    let student = app.student().await;
    let reply = send(&student, "a.png", png()).await;
    let address = reply.expect(200)["profile_image"].as_str().unwrap();
    assert!(address.starts_with("https://cms.example.edu/media/"), "{address}");
}
