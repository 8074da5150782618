//! Files that somebody may send: honest ones, and those that want to be taken for what they are not.
//!
//! Every route that takes a file is sent all of them (`tests/api/uploads.rs`), and says which types it takes.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

/// A file as it is sent.
pub(crate) struct Sample {
    /// What it is, for people.
    pub(crate) what: &'static str,
    /// What its sender calls it.
    pub(crate) name: &'static str,
    /// The type that its sender says it has.
    pub(crate) declared: &'static str,
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
    /// The type that it is kept as where that is taken; nowhere is it taken when there is none.
    pub(crate) kept_as: Option<&'static str>,
}

/// What rides along in pictures: the first words of each must never be served as part of one.
pub(crate) const SCRIPT: &str = "<?php system($_GET['c']); ?><script>alert(1)</script>";

/// What is left of [`SCRIPT`] and the other passengers if a picture is served as it was sent.
pub(crate) const TRACES: [&str; 5] = ["<?php", "<script", "GPS", "Exif", "PK\u{3}"];

/// A multipart body, part by part: what follows `form-data; ` in the part's headers, and its bytes.
pub(crate) fn multipart(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (disposition, bytes) in parts {
        body.extend_from_slice(b"--limit\r\nContent-Disposition: form-data; ");
        body.extend_from_slice(disposition.as_bytes());
        body.extend_from_slice(b"\r\n\r\n");
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--limit--\r\n");
    body
}

/// A picture of this size in this format.
pub(crate) fn picture(format: ImageFormat, width: u32, height: u32) -> Vec<u8> {
    let picture = RgbImage::from_fn(width, height, |x, y| Rgb([x as u8, y as u8, 200]));
    let mut out = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(picture).write_to(&mut out, format).unwrap();
    out.into_inner()
}

/// A small picture.
pub(crate) fn png() -> Vec<u8> {
    picture(ImageFormat::Png, 8, 6)
}

/// A JPEG with a segment after its first marker.
pub(crate) fn jpeg_with(marker: u8, segment: &[u8], width: u32, height: u32) -> Vec<u8> {
    let bytes = picture(ImageFormat::Jpeg, width, height);
    let length = u16::try_from(segment.len() + 2).unwrap();
    [&bytes[..2], &[0xFF, marker], &length.to_be_bytes(), segment, &bytes[2..]].concat()
}

/// What a camera writes that was held upright, with a place in it.
pub(crate) fn exif_held_upright() -> Vec<u8> {
    let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0".to_vec();
    exif.extend_from_slice(b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0");
    exif.extend_from_slice(b"GPS 37.8221 S 145.0389 E");
    exif
}

/// The checksum of a PNG's chunk.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}

/// A PNG that says it has another size, with a checksum that holds.
fn png_that_claims(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = png();
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let sum = crc(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// A PNG with a text chunk after its header.
fn png_with_text(text: &str) -> Vec<u8> {
    let bytes = png();
    let data = [b"tEXtComment\0", text.as_bytes()].concat();
    let length = u32::try_from(data.len() - 4).unwrap();
    [&bytes[..33], &length.to_be_bytes(), &data, &crc(&data).to_be_bytes(), &bytes[33..]].concat()
}

/// A ZIP archive of uncompressed files.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in files {
        let size = u32::try_from(bytes.len()).unwrap().to_le_bytes();
        let place = u32::try_from(out.len()).unwrap().to_le_bytes();
        let length = u16::try_from(name.len()).unwrap().to_le_bytes();
        let sizes = [&size[..], &size, &length, &[0, 0]].concat();
        out.extend_from_slice(b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0\0\0\0\0");
        out.extend_from_slice(&[&sizes, name.as_bytes(), bytes].concat());
        directory.extend_from_slice(b"PK\x01\x02\x14\0\x14\0\0\0\0\0\0\0\0\0\0\0\0\0");
        directory.extend_from_slice(&[&sizes, &[0; 10][..], &place, name.as_bytes()].concat());
    }
    let begins = u32::try_from(out.len()).unwrap().to_le_bytes();
    out.extend_from_slice(&directory);
    out.extend_from_slice(b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0");
    out.extend_from_slice(&[&begins[..], &[0, 0]].concat());
    out
}

const TYPES: &str = "[Content_Types].xml";

fn types(main: &str) -> String {
    format!("<?xml version=\"1.0\"?><Types><Override PartName=\"/main.xml\" ContentType=\"{main}.main+xml\"/></Types>")
}

/// An office document, with its entries in no order that tells.
fn office(media_type: &str) -> Vec<u8> {
    archive(&[
        ("docProps/app.xml", b"<Properties></Properties>"),
        ("_rels/.rels", b"<Relationships></Relationships>"),
        ("customXml/item1.xml", b"<x/>"),
        ("main.xml", b"<w:document></w:document>"),
        (TYPES, types(media_type).as_bytes()),
    ])
}

fn open_document(kind: &str) -> Vec<u8> {
    archive(&[("content.xml", b"<x/>"), ("mimetype", kind.as_bytes())])
}

/// An archive whose directory says of its entry what is not so: four bytes there are others.
fn lying(at: usize, bytes: [u8; 4]) -> Vec<u8> {
    let mut archive = archive(&[(TYPES, types(WORD).as_bytes())]);
    let directory = archive.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    archive[directory + at..directory + at + 4].copy_from_slice(&bytes);
    archive
}

/// A container of the older formats with an entry of this name.
fn container(entry: &str) -> Vec<u8> {
    let mut bytes = b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1".to_vec();
    bytes.resize(1024, 0);
    bytes.extend(entry.encode_utf16().flat_map(u16::to_le_bytes));
    bytes.resize(2048, 0);
    bytes
}

fn utf16(text: &str) -> Vec<u8> {
    [vec![0xFF, 0xFE], text.encode_utf16().flat_map(u16::to_le_bytes).collect()].concat()
}

/// All of them.
pub(crate) fn corpus() -> Vec<Sample> {
    let honest = honest().into_iter().chain(passengers()).map(|(what, name, bytes, kept_as)| Sample {
        what,
        name,
        // What a client says of it means nothing.
        declared: "text/html",
        bytes,
        kept_as: Some(kept_as),
    });
    let hostile = pretenders().into_iter().chain(broken_pictures()).map(|(what, name, declared, bytes)| Sample {
        what,
        name,
        declared,
        bytes,
        kept_as: None,
    });
    honest.chain(hostile).collect()
}

const UTF_8: &str = "text/plain; charset=utf-8";
const WORD: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";

/// "Trường đại học thông báo lịch nghỉ học của sinh viên" in Windows-1258.
const VIETNAMESE: &[u8] =
    b"Tr\xfd\xf5\xccng \xf0a\xf2i ho\xf2c th\xf4ng b\xe1o li\xf2ch nghi\xd2 ho\xf2c cu\xd2a sinh vi\xean";

/// What is meant to be taken, with names that say something else.
fn honest() -> Vec<(&'static str, &'static str, Vec<u8>, &'static str)> {
    const OFFICE: [&str; 3] = [
        WORD,
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ];
    const OPEN: [&str; 3] = [
        "application/vnd.oasis.opendocument.text",
        "application/vnd.oasis.opendocument.spreadsheet",
        "application/vnd.oasis.opendocument.presentation",
    ];
    vec![
        ("PNG", "me.html", png(), "image/png"),
        ("JPEG", "me.php", picture(ImageFormat::Jpeg, 8, 6), "image/jpeg"),
        ("WebP", "me.svg", picture(ImageFormat::WebP, 8, 6), "image/webp"),
        // The first picture of what may be an animation.
        ("GIF", "me.js", picture(ImageFormat::Gif, 8, 6), "image/png"),
        ("PDF", "plan.html", b"%PDF-1.7\n%%EOF".to_vec(), "application/pdf"),
        ("PDF behind a mark", "plan.pdf", b"\xef\xbb\xbf%PDF-1.4\n%\xe2\xe3\n%%EOF\n".to_vec(), "application/pdf"),
        ("PDF behind an empty line", "plan.pdf", b"\n%PDF-1.4\n1 0 obj\n%%EOF\n".to_vec(), "application/pdf"),
        ("PDF behind a job's head", "plan.pdf", b"\x1b%-12345X@PJL\r\n%PDF-1.4\n%%EOF\n".to_vec(), "application/pdf"),
        ("text in UTF-16", "a.txt", utf16("Tiếng Việt\r\n"), "text/plain; charset=utf-16"),
        (
            "Western text",
            "a.txt",
            b"Caf\xe9 \x96 na\xefve, d\xe9j\xe0 vu\r\n".to_vec(),
            "text/plain; charset=windows-1252",
        ),
        ("Vietnamese text", "a.txt", VIETNAMESE.to_vec(), "text/plain; charset=windows-1258"),
        ("text with pages", "a.txt", b"One\n\x0cTwo\n".to_vec(), UTF_8),
        ("text", "a.html", "Week 1: sets, naïve – and more.\n\tIndented.\r\n".into(), UTF_8),
        ("text that compares", "a.txt", "x < y, and <b> stands for a block".into(), UTF_8),
        ("text that names a PDF", "a.txt", "It begins with %PDF-1.7".into(), UTF_8),
        ("CSV", "a.csv", "a,b\n1,2\n".into(), UTF_8),
        ("ZIP", "a.html", archive(&[("readme.md", b"hello")]), "application/zip"),
        ("Word", "a.exe", office(OFFICE[0]), OFFICE[0]),
        ("Excel", "a.xlsx", office(OFFICE[1]), OFFICE[1]),
        ("PowerPoint", "a.pptx", office(OFFICE[2]), OFFICE[2]),
        ("Writer", "a.odt", open_document(OPEN[0]), OPEN[0]),
        ("Calc", "a.ods", open_document(OPEN[1]), OPEN[1]),
        ("Impress", "a.odp", open_document(OPEN[2]), OPEN[2]),
    ]
}

/// What is two things at once: taken as the one that it begins as, and served as nothing else.
fn passengers() -> Vec<(&'static str, &'static str, Vec<u8>, &'static str)> {
    let trailing = |picture: Vec<u8>| [picture, SCRIPT.as_bytes().to_vec()].concat();
    vec![
        ("PNG and more", "x.php", trailing(png()), "image/png"),
        ("JPEG and more", "x.php", trailing(picture(ImageFormat::Jpeg, 8, 6)), "image/jpeg"),
        ("GIF and more", "x.html", trailing(picture(ImageFormat::Gif, 8, 6)), "image/png"),
        ("WebP and more", "x.html", trailing(picture(ImageFormat::WebP, 8, 6)), "image/webp"),
        ("PNG and an archive", "x.jar", [png(), archive(&[("a.class", b"<?php")])].concat(), "image/png"),
        ("PNG with a comment", "x.png", png_with_text(SCRIPT), "image/png"),
        ("JPEG with a comment", "x.jpg", jpeg_with(0xFE, SCRIPT.as_bytes(), 8, 6), "image/jpeg"),
        ("JPEG with a place", "x.jpg", jpeg_with(0xE1, &exif_held_upright(), 6, 8), "image/jpeg"),
        ("PDF and a page", "x.html", format!("%PDF-1.7\n<html>{SCRIPT}\n%%EOF").into(), "application/pdf"),
        ("archive and a page", "x.html", trailing(archive(&[("index.html", b"<html>")])), "application/zip"),
        ("archive of nothing that is said", "x.zip", archive(&[(TYPES, b"<Types></Types>")]), "application/zip"),
        ("document with macros", "x.zip", office("application/vnd.ms-word.document.macroEnabled"), "application/zip"),
        ("archive that begins beyond its end", "x.zip", lying(42, [0xff; 4]), "application/zip"),
        ("archive with an entry larger than it", "x.zip", lying(20, [0xff; 4]), "application/zip"),
        ("archive with a name larger than it", "x.zip", lying(28, [0xff; 4]), "application/zip"),
        ("archive that climbs", "x.zip", archive(&[("../../../etc/cron.d/x", b"* * * * *")]), "application/zip"),
    ]
}

/// What is of no type that is taken anywhere, and says that it is.
fn pretenders() -> Vec<(&'static str, &'static str, &'static str, Vec<u8>)> {
    let svg = r#"<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>"#;
    let hidden = format!("<!--{}--><script>alert(1)</script>", "x".repeat(2000));
    let ole = b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1";
    vec![
        ("nothing", "a.png", "image/png", vec![]),
        ("SVG", "a.png", "image/png", svg.into()),
        ("bare SVG", "a.svg", "image/svg+xml", "<svg onload='alert(1)'></svg>".into()),
        ("SVG that is compressed", "a.svgz", "image/svg+xml", b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec()),
        ("XML", "a.txt", "text/plain", b"<?xml version='1.0'?><x/>".to_vec()),
        ("HTML", "a.html", "text/html", b"<!doctype html><p>hello".to_vec()),
        ("HTML in capitals", "a.txt", "text/plain", b"<HTML><BODY>".to_vec()),
        ("HTML behind spaces", "a.pdf", "application/pdf", b"   \n\t<html>".to_vec()),
        ("HTML behind a mark", "a.txt", "text/plain", "\u{feff}<html><script>".into()),
        ("HTML in UTF-16", "a.txt", "text/plain", utf16("<html><script>alert(1)</script>")),
        ("HTML behind a long comment", "a.txt", "text/plain", hidden.into()),
        ("HTML behind a mark and a link", "a.txt", "text/plain", "\u{feff}\n<a href=javascript:alert(1)>".into()),
        ("a piece of HTML", "a.txt", "text/plain", "<img src=x onerror=alert(1)>".into()),
        ("PHP", "a.txt", "text/plain", SCRIPT.into()),
        ("script in a text", "a.txt", "text/plain", b"Hello\n<script>alert(1)</script>".to_vec()),
        ("page behind the sign of a GIF", "a.gif", "image/gif", "GIF89a<script>alert(1)</script>".into()),
        ("script behind the sign of a GIF", "a.gif", "image/gif", "GIF89a=1;alert(1)//".into()),
        ("page before a PDF", "a.pdf", "application/pdf", "<html><script>alert(1)</script>%PDF-1.7\n%%EOF".into()),
        ("program", "a.pdf", "application/pdf", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0".to_vec()),
        ("Windows program", "a.docx", "application/msword", [b"MZ\x90\0".to_vec(), vec![0; 200]].concat()),
        ("shell script", "a.txt", "text/plain", b"#!/bin/sh\nrm -rf /\n".to_vec()),
        ("shell script that names a PDF", "a.pdf", "application/pdf", b"#!/bin/sh\n# %PDF-1.7\nrm -rf /\n".to_vec()),
        ("font that names a PDF", "a.pdf", "application/pdf", b"wOFF\0\x01\0\0\0%PDF-1.7".to_vec()),
        ("Java class", "a.zip", "application/zip", b"\xCA\xFE\xBA\xBE\0\0\0\x34".to_vec()),
        ("sign of an old document and zeros", "a.doc", "application/msword", [&ole[..], &[0; 600]].concat()),
        ("sign of an old document and ones", "a.xls", "application/vnd.ms-excel", [&ole[..], &[0xFF; 600]].concat()),
        ("bytes", "a.txt", "text/plain", vec![1, 2, 3, 4, 5]),
        ("text with a NUL", "a.txt", "text/plain", b"abc\0def".to_vec()),
        ("no encoding", "a.txt", "text/plain", b"abc\x81\x8d\xff".to_vec()),
        ("HTML in Windows-1252", "a.txt", "text/plain", b"caf\xe9 <script>alert(1)</script>".to_vec()),
        ("HEIC", "a.jpg", "image/jpeg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic".to_vec()),
        ("document with a password", "a.docx", WORD, container("EncryptedPackage\0")),
        ("NULs", "a.txt", "text/plain", vec![0; 4096]),
        ("TIFF", "a.png", "image/png", b"II*\0\x08\0\0\0".to_vec()),
        ("BMP", "a.png", "image/png", [b"BM".to_vec(), vec![0; 60]].concat()),
        ("icon", "a.png", "image/png", b"\0\0\x01\0\x01\0\x10\x10\0\0\x01\0\x20\0".to_vec()),
        ("AVIF", "a.png", "image/png", b"\0\0\0\x1cftypavif\0\0\0\0avifmif1".to_vec()),
    ]
}

/// Pictures that are none, not whole, or too large.
fn broken_pictures() -> Vec<(&'static str, &'static str, &'static str, Vec<u8>)> {
    let cut = |format, length| {
        let mut bytes = picture(format, 64, 64);
        bytes.truncate(length);
        bytes
    };
    let mut bad_checksum = png();
    bad_checksum[30] ^= 1;
    let mut gif_bomb = picture(ImageFormat::Gif, 8, 6);
    gif_bomb[6..10].copy_from_slice(&[0xFF; 4]);
    let webp_bomb = b"RIFF\x2a\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\x3f\0\xff\x3f\0VP8 \x0a\0\0\0\x10\x02\0\x9d\x01\x2a\xff\x3f\xff\x3f".to_vec();
    let sign = b"\x89PNG\r\n\x1a\n".to_vec();
    let pictures = vec![
        ("sign of a PNG and nothing", sign.clone()),
        ("sign of a PNG and zeros", [sign, vec![0; 500]].concat()),
        ("sign of a JPEG and noise", [b"\xFF\xD8\xFF\xE0".to_vec(), vec![7; 500]].concat()),
        ("sign of a JPEG and PHP", b"\xFF\xD8\xFF\xE0<?php phpinfo();".to_vec()),
        ("half a PNG", cut(ImageFormat::Png, 80)),
        ("half a JPEG", cut(ImageFormat::Jpeg, 200)),
        ("half a WebP", cut(ImageFormat::WebP, 40)),
        ("PNG with a wrong checksum", bad_checksum),
        ("PNG of 60000 × 60000", png_that_claims(60_000, 60_000)),
        ("PNG of 4 billion a side", png_that_claims(0x7FFF_FFFF, 0x7FFF_FFFF)),
        ("PNG of 8193 × 1", png_that_claims(8193, 1)),
        ("PNG of 8192 × 8192 without its pixels", png_that_claims(8192, 8192)),
        ("PNG of 0 × 0", png_that_claims(0, 0)),
        ("GIF of 65535 × 65535", gif_bomb),
        ("WebP of 16384 × 16384", webp_bomb),
        ("whole picture of 9000 × 1", picture(ImageFormat::Png, 9000, 1)),
    ];
    pictures.into_iter().map(|(what, bytes)| (what, "a.png", "image/png", bytes)).collect()
}

/// What senders call files, and what is left of it. `mark` is in those that want to lie elsewhere.
pub(crate) fn names(mark: &str) -> Vec<(String, String)> {
    let climbing = [
        "../../../../",
        "../",
        "/",
        "/tmp/",
        "....//....//",
        "..\\..\\",
        "C:\\",
        "\\\\host\\share\\",
        "~/",
        "file:///tmp/",
        "./",
        "public/../../",
    ];
    let extended = ("x\"; filename*=\"UTF-8''..%2F..%2Fa.png".to_owned(), "a.png".to_owned());
    let same = [
        "..",
        ".",
        "",
        "CON",
        "NUL.png",
        "COM1",
        "aux.h",
        ".htaccess",
        ".env",
        "x.php.png",
        "x.png.php",
        "a.png;rm -rf",
        "$(touch x)",
        "`id`",
        "%2e%2e%2f%2e%2e%2fx",
        "ümlaut ☃.png",
        "x.png::$DATA",
        " ",
        "desktop.ini",
        "<script>",
    ];
    // Which are pictures by their ending; all others are given one.
    let ours = |name: &str| match name {
        "NUL.png" | "x.php.png" | "ümlaut ☃.png" => name.to_owned(),
        "" | " " => "file.png".to_owned(),
        _ => format!("{}.png", name.trim()),
    };
    let climbing = climbing.iter().map(|way| (format!("{way}{mark}"), mark.to_owned()));
    let ending_in_a_step = ["../", "a/b/", "/"].iter().map(|name| ((*name).to_owned(), "file.png".to_owned()));
    let long = ("n".repeat(300), format!("{}.png", "n".repeat(251)));
    let same = same.iter().map(|name| ((*name).to_owned(), ours(name)));
    climbing.chain(ending_in_a_step).chain([long, extended]).chain(same).collect()
}
