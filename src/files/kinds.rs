//! The types of file that are taken: by their bytes, never by their name.

use super::archive::{self, Says};
use super::plain;

/// What an endpoint takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepts {
    /// Pictures.
    Images,
    /// Pictures, PDF, office documents, plain text and archives.
    Documents,
}

/// A type: its media type and the ending its name on the disk gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) media_type: &'static str,
    pub(crate) ending: &'static str,
}

const PDF: &str = "application/pdf";

const IMAGES: &[Kind] = &[
    Kind { media_type: "image/png", ending: "png" },
    Kind { media_type: "image/jpeg", ending: "jpg" },
    Kind { media_type: "image/webp", ending: "webp" },
    Kind { media_type: "image/gif", ending: "gif" },
];

const DOCUMENTS: &[Kind] = &[
    Kind { media_type: PDF, ending: "pdf" },
    Kind { media_type: "application/zip", ending: "zip" },
    Kind { media_type: "application/msword", ending: "doc" },
    Kind { media_type: "application/vnd.ms-excel", ending: "xls" },
    Kind { media_type: "application/vnd.ms-powerpoint", ending: "ppt" },
    Kind { media_type: "application/vnd.openxmlformats-officedocument.wordprocessingml.document", ending: "docx" },
    Kind { media_type: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", ending: "xlsx" },
    Kind { media_type: "application/vnd.openxmlformats-officedocument.presentationml.presentation", ending: "pptx" },
    Kind { media_type: "application/vnd.openxmlformats-officedocument.wordprocessingml.template", ending: "dotx" },
    Kind { media_type: "application/vnd.openxmlformats-officedocument.spreadsheetml.template", ending: "xltx" },
    Kind { media_type: "application/vnd.openxmlformats-officedocument.presentationml.template", ending: "potx" },
    Kind { media_type: "application/vnd.openxmlformats-officedocument.presentationml.slideshow", ending: "ppsx" },
    Kind { media_type: "application/vnd.oasis.opendocument.text", ending: "odt" },
    Kind { media_type: "application/vnd.oasis.opendocument.spreadsheet", ending: "ods" },
    Kind { media_type: "application/vnd.oasis.opendocument.presentation", ending: "odp" },
];

/// Plain text. What lies below `/media/` has its encoding by its ending there, since nginx knows nothing else of it.
const TEXTS: &[Kind] = &[
    Kind { media_type: "text/plain; charset=utf-8", ending: "txt" },
    Kind { media_type: "text/plain; charset=utf-16", ending: "txt16" },
    Kind { media_type: "text/plain; charset=windows-1252", ending: "txt1252" },
    Kind { media_type: "text/plain; charset=windows-1258", ending: "txt1258" },
];

const ZIP: &str = "application/zip";

const HEIC: &str = "Photos in HEIC are not taken. Set the camera to Most Compatible, or send the photo as JPEG.";

const LOCKED: &str = "This document is protected by a password, so nobody here could open it. Save it without one.";

impl Kind {
    /// The ending for people.
    pub(crate) fn shown_ending(self) -> &'static str {
        if TEXTS.contains(&self) { "txt" } else { self.ending }
    }
}

impl Accepts {
    /// For people.
    pub(crate) fn says(self) -> &'static str {
        match self {
            Self::Images => "PNG, JPEG, WebP or GIF",
            Self::Documents => "a picture (PNG, JPEG, WebP, GIF), PDF, an office document, plain text or ZIP",
        }
    }

    /// The type of these bytes.
    ///
    /// # Errors
    /// For people, why it is not taken here.
    pub(crate) fn kind_of(self, bytes: &[u8]) -> Result<Kind, String> {
        let known: &[&[Kind]] = match self {
            Self::Images => &[IMAGES],
            Self::Documents => &[IMAGES, DOCUMENTS],
        };
        let find = |media_type: &str| {
            known.iter().flat_map(|kinds| kinds.iter()).find(|kind| kind.media_type == media_type).copied()
        };
        // It finds a PDF wherever one begins, behind anything else, and knows documents by the order in their archive.
        let found = infer::get(bytes).map(|found| found.mime_type()).filter(|found| *found != PDF);
        let kind = match found {
            Some("image/heif") => return Err(HEIC.to_owned()),
            _ if is_locked(bytes) && self == Self::Documents => return Err(LOCKED.to_owned()),
            Some(found) if found == ZIP || (found.contains("document") && bytes.starts_with(b"PK")) => {
                in_archive(bytes).and_then(find).or_else(|| find(ZIP))
            }
            Some(found) => find(found),
            None if is_pdf(bytes) => find(PDF),
            None if self == Self::Documents => plain::charset_of(bytes)
                .and_then(|charset| TEXTS.iter().find(|kind| kind.media_type.ends_with(charset)).copied()),
            None => None,
        };
        kind.ok_or_else(|| format!("This type of file is not accepted. Send {}.", self.says()))
    }
}

/// A PDF begins within the first 1,024 bytes: scanners and portals write a mark, empty lines or a job's head before it.
/// A text may name one, so what does not begin as one must end as one, and must not begin as something else.
fn is_pdf(bytes: &[u8]) -> bool {
    let start = bytes.get(..1024).unwrap_or(bytes);
    let Some(begin) = start.windows(5).position(|five| five == b"%PDF-") else { return false };
    let before = String::from_utf8_lossy(start.get(..begin).unwrap_or_default());
    let end = bytes.get(bytes.len().saturating_sub(1024)..).unwrap_or_default();
    begin == 0 || (!plain::begins_as_code(&before) && end.windows(5).any(|five| five == b"%%EOF"))
}

/// An Office document with a password is a container of the older formats, with one entry of this name.
fn is_locked(bytes: &[u8]) -> bool {
    let name: Vec<u8> = "EncryptedPackage\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
    // Entries have 128 bytes, and begin with their name.
    bytes.starts_with(&[0xd0, 0xcf, 0x11, 0xe0]) && bytes.chunks(128).any(|entry| entry.starts_with(&name))
}

/// The media type of the document that an archive is.
fn in_archive(bytes: &[u8]) -> Option<&'static str> {
    let told = archive::says(bytes)?;
    DOCUMENTS.iter().map(|kind| kind.media_type).find(|media_type| match &told {
        Says::Parts(parts) => parts.contains(&format!("\"{media_type}.main+xml\"")),
        Says::Type(said) => said == media_type,
    })
}

/// Whether a browser may show it in place; all else is offered for saving.
pub(crate) fn may_be_shown(media_type: &str) -> bool {
    media_type == PDF || IMAGES.iter().any(|kind| kind.media_type == media_type)
}

/// The media type of a public file, by the ending that we gave it.
pub(crate) fn of_ending(name: &str) -> &'static str {
    let ending = name.rsplit('.').next().unwrap_or_default();
    [IMAGES, DOCUMENTS, TEXTS]
        .into_iter()
        .flatten()
        .find(|kind| kind.ending == ending)
        .map_or("application/octet-stream", |kind| kind.media_type)
}
