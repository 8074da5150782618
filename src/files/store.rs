//! Bytes on the disk and their rows.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::{ImageFormat, ImageReader, Limits};
use sqlx::PgConnection;

use super::kinds::{Accepts, Kind};
use super::upload::UploadedFile;
use crate::http::{Answer, Problem};
use crate::ids::Id;

/// The largest picture, in pixels a side.
const LARGEST_SIDE: u32 = 8192;
/// The most memory that decoding a picture may take.
const MOST_MEMORY: u64 = 256 * 1024 * 1024;

/// The folders under `MEDIA_ROOT`.
#[derive(Debug, Clone)]
pub struct FileStore {
    root: PathBuf,
}

/// A file whose bytes are on the disk. Until it is [kept](Self::keep) it is removed when dropped.
#[derive(Debug)]
pub struct Stored {
    /// The row's id.
    pub id: Id,
    path: Option<PathBuf>,
}

impl Stored {
    /// The row has committed: the bytes stay.
    pub fn keep(mut self) {
        self.path = None;
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        if let Some(path) = self.path.take()
            && let Err(error) = std::fs::remove_file(&path)
        {
            tracing::warn!(%error, "a file without a row could not be removed");
        }
    }
}

/// A file as it is served.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) path: PathBuf,
    pub(super) name: String,
    pub(super) original_name: String,
    pub(super) content_type: String,
}

impl FileStore {
    /// Under this folder.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Makes the folders.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn prepare(&self) -> std::io::Result<()> {
        std::fs::create_dir_all(self.root.join("public"))?;
        std::fs::create_dir_all(self.root.join("private"))
    }

    /// Where a public file lies; names that are not ours have no place.
    pub(super) fn public(&self, name: &str) -> Option<PathBuf> {
        let ours =
            name.len() < 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.') && !name.starts_with('.');
        ours.then(|| self.root.join("public").join(name))
    }

    /// Writes an upload to the disk and its row in this transaction.
    ///
    /// A picture is decoded and written anew: what is no picture is refused, and places, devices or anything else that
    /// rides along in it stays behind.
    ///
    /// # Errors
    /// 400 on the field when the type is not taken here.
    pub async fn put(
        &self,
        tx: &mut PgConnection,
        owner: Id,
        file: &UploadedFile,
        accepts: Accepts,
        public: bool,
    ) -> Answer<Stored> {
        let Some(kind) = accepts.kind_of(&file.bytes) else {
            return Err(Problem::invalid(
                file.field.clone(),
                format!("This type of file is not accepted. Send {}.", accepts.says()),
            ));
        };
        let bytes = match format_of(kind) {
            Some((read, write)) => {
                let bytes = file.bytes.clone();
                let redrawn = tokio::task::spawn_blocking(move || redraw(&bytes, read, write)).await;
                redrawn.map_err(Problem::internal)?.map_err(|says| Problem::invalid(file.field.clone(), says))?
            }
            None => file.bytes.to_vec(),
        };
        let ending = if kind.ending == "gif" { "png" } else { kind.ending };
        let media_type = if kind.ending == "gif" { "image/png" } else { kind.media_type };
        let name = format!("{}.{ending}", uuid::Uuid::new_v4().simple());
        let path = self.root.join(if public { "public" } else { "private" }).join(&name);
        let id = sqlx::query_scalar!(
            "insert into stored_files (name, original_name, sha256, size, content_type, public, created_by)
             values ($1, $2, sha256($3), $4, $5, $6, $7)
             returning id",
            name,
            file.name,
            bytes,
            i64::try_from(bytes.len()).unwrap_or(i64::MAX),
            media_type,
            public,
            owner.0
        )
        .fetch_one(tx)
        .await?;
        let stored = Stored { id: Id(id), path: Some(path.clone()) };
        write(&path, &bytes).await.map_err(Problem::internal)?;
        Ok(stored)
    }

    /// Removes the bytes of a public file whose row is gone.
    pub async fn discard_public(&self, name: &str) {
        if let Some(path) = self.public(name)
            && let Err(error) = tokio::fs::remove_file(path).await
        {
            tracing::warn!(%error, "a file without a row could not be removed");
        }
    }

    /// A private file by its id.
    pub(super) async fn private(&self, conn: &mut PgConnection, id: Id) -> Answer<Served> {
        let file = sqlx::query!(
            "select name, original_name, content_type
               from stored_files
              where id = $1
                and not public
                and deleted_at is null",
            id.0
        )
        .fetch_optional(conn)
        .await?
        .ok_or_else(Problem::absent)?;
        Ok(Served {
            path: self.root.join("private").join(&file.name),
            name: file.name,
            original_name: file.original_name,
            content_type: file.content_type,
        })
    }
}

/// Written under another name and moved into place, so that half a file is never served.
async fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let partial = path.with_extension("partial");
    tokio::fs::write(&partial, bytes).await?;
    let file = tokio::fs::File::open(&partial).await?;
    file.sync_all().await?;
    tokio::fs::rename(&partial, path).await
}

fn format_of(kind: Kind) -> Option<(ImageFormat, ImageFormat)> {
    Some(match kind.ending {
        "png" => (ImageFormat::Png, ImageFormat::Png),
        "jpg" => (ImageFormat::Jpeg, ImageFormat::Jpeg),
        "webp" => (ImageFormat::WebP, ImageFormat::WebP),
        // The first picture of an animation.
        "gif" => (ImageFormat::Gif, ImageFormat::Png),
        _ => return None,
    })
}

fn redraw(bytes: &[u8], read: ImageFormat, write: ImageFormat) -> Result<Vec<u8>, String> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), read);
    let mut limits = Limits::default();
    limits.max_image_width = Some(LARGEST_SIDE);
    limits.max_image_height = Some(LARGEST_SIDE);
    limits.max_alloc = Some(MOST_MEMORY);
    reader.limits(limits);
    let picture = reader
        .decode()
        .map_err(|_| format!("This is not a whole picture, or one of more than {LARGEST_SIDE} pixels a side."))?;
    let mut out = Cursor::new(Vec::new());
    picture.write_to(&mut out, write).map_err(|_| "This picture cannot be stored.".to_owned())?;
    Ok(out.into_inner())
}
