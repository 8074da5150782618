//! The types of file that are taken: by their bytes, never by their name.

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
    Kind { media_type: "application/vnd.oasis.opendocument.text", ending: "odt" },
    Kind { media_type: "application/vnd.oasis.opendocument.spreadsheet", ending: "ods" },
    Kind { media_type: "application/vnd.oasis.opendocument.presentation", ending: "odp" },
];

const TEXT: Kind = Kind { media_type: "text/plain", ending: "txt" };

impl Accepts {
    /// For people.
    pub(crate) fn says(self) -> &'static str {
        match self {
            Self::Images => "PNG, JPEG, WebP or GIF",
            Self::Documents => "a picture (PNG, JPEG, WebP, GIF), PDF, an office document, plain text or ZIP",
        }
    }

    /// The type of these bytes, if it is taken here.
    pub(crate) fn kind_of(self, bytes: &[u8]) -> Option<Kind> {
        let known: &[&[Kind]] = match self {
            Self::Images => &[IMAGES],
            Self::Documents => &[IMAGES, DOCUMENTS],
        };
        // It finds a PDF also where one begins further on, behind anything else.
        let found = infer::get(bytes).filter(|found| found.mime_type() != PDF || bytes.starts_with(b"%PDF-"));
        if let Some(found) = found {
            return known
                .iter()
                .flat_map(|kinds| kinds.iter())
                .find(|kind| kind.media_type == found.mime_type())
                .copied();
        }
        (self == Self::Documents && is_text(bytes)).then_some(TEXT)
    }
}

/// Plain text: UTF-8 without control characters, and nothing that a browser could take for a page or a shell for a script.
fn is_text(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let plain = !text.is_empty() && text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t'));
    let start = text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    let is_tag = |rest: &str| rest.starts_with(|c: char| c.is_ascii_alphabetic() || "!?/".contains(c));
    let begins_as_code = start.starts_with("#!") || start.strip_prefix('<').is_some_and(is_tag);
    let lower = text.chars().take(1024).collect::<String>().to_ascii_lowercase();
    let markup = ["<!doctype", "<html", "<script", "<svg", "<?xml", "<body", "<iframe"];
    plain && !begins_as_code && !markup.iter().any(|sign| lower.contains(sign))
}

/// Whether a browser may show it in place; all else is offered for saving.
pub(crate) fn may_be_shown(media_type: &str) -> bool {
    media_type == PDF || IMAGES.iter().any(|kind| kind.media_type == media_type)
}

/// The media type of a public file, by the ending that we gave it.
pub(crate) fn of_ending(name: &str) -> &'static str {
    let ending = name.rsplit('.').next().unwrap_or_default();
    [IMAGES, DOCUMENTS, &[TEXT]]
        .into_iter()
        .flatten()
        .find(|kind| kind.ending == ending)
        .map_or("application/octet-stream", |kind| kind.media_type)
}
