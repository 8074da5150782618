//! Bytes on the disk and their rows.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use axum::body::Bytes;
use axum::http::StatusCode;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use sqlx::PgConnection;
use tokio::sync::Semaphore;

use super::kinds::{Accepts, Kind};
use super::memory::Memory;
use super::names;
use super::upload::UploadedFile;
use crate::access::Actor;
use crate::db::Pool;
use crate::http::{Answer, Problem};
use crate::ids::Id;

/// The largest picture, in pixels a side, and in all: what a good camera makes.
const LARGEST_SIDE: u32 = 8192;
const MOST_PIXELS: u64 = 24_000_000;

/// How many times over a picture stands in memory at most: as it is read, turned, and written.
const COPIES: u64 = 3;

/// The longest side that is kept of a picture which is shown small: of a person, of an achievement.
const SHOWN_SMALL: u32 = 1024;

/// The folders under `MEDIA_ROOT`.
#[derive(Debug, Clone)]
pub struct FileStore {
    root: PathBuf,
    /// Each picture that is drawn anew takes a core.
    redraws: Arc<Semaphore>,
    pub(super) memory: Memory,
}

/// Shows that the sender may put a file there, before a byte of it is looked at. What is written is decided on again, under
/// its locks.
#[derive(Debug)]
pub struct Admitted(());

impl Admitted {
    /// If this check passes.
    ///
    /// # Errors
    /// What the check refuses with.
    pub async fn after<T>(check: impl Future<Output = Answer<T>>) -> Answer<Self> {
        check.await.map(|_| Self(()))
    }

    /// For what is the caller's own, where having called at all is access enough.
    pub fn for_oneself<P>(_: &Actor<P>) -> Self {
        Self(())
    }
}

/// An upload that is taken, as it will lie on the disk.
#[derive(Debug)]
pub struct Accepted {
    original_name: String,
    bytes: Bytes,
    media_type: &'static str,
    ending: &'static str,
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

/// Where a transaction, which may run again, leaves the file that it wrote: the bytes stay only when its row does.
#[derive(Debug, Default)]
pub struct Written(Mutex<Option<Stored>>);

impl Written {
    /// Holds the file; one that an attempt before has written goes.
    pub fn hold(&self, stored: Stored) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(stored);
    }

    /// The transaction has committed: the bytes stay, if it wrote any.
    pub fn keep(self) {
        if let Some(stored) = self.0.into_inner().unwrap_or_else(PoisonError::into_inner) {
            stored.keep();
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

/// What keeps a file from being stored, for whoever sends it; the log has the folder and the setting.
fn not_stored(error: std::io::Error, path: &Path) -> Problem {
    use std::io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let kind = error.kind();
    let problem = if matches!(kind, StorageFull | QuotaExceeded) {
        Problem::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "no_room",
            "There is no room left for files on the server. Nothing was stored; please tell the administration.",
        )
    } else if matches!(kind, ReadOnlyFilesystem | PermissionDenied) {
        Problem::unavailable("Files cannot be stored right now. Nothing was stored; try again later.").retry_after(60)
    } else {
        Problem::internal(anyhow::anyhow!("a file could not be stored"))
    };
    let folder = path.parent().unwrap_or(path).display().to_string();
    problem.because(anyhow::Error::new(error).context(format!("MEDIA_ROOT: {folder} cannot be written")))
}

impl FileStore {
    /// Under this folder.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |all| (all.get() / 2).max(1));
        Self { root: root.to_owned(), redraws: Arc::new(Semaphore::new(cores)), memory: Memory::new() }
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

    /// Judges an upload by its bytes. It may take a second, so it comes before the transaction that stores the file.
    ///
    /// A picture is decoded and written anew: what is no picture is refused, and places, devices or anything else that
    /// rides along in it stays behind.
    ///
    /// # Errors
    /// 400 on the field when the type is not taken here, or a picture is too large; 503 when too many are worked on.
    pub async fn accept(&self, _: &Admitted, file: &UploadedFile, accepts: Accepts) -> Answer<Accepted> {
        let refuse = |says: String| Problem::invalid(file.field.clone(), says);
        let kind = accepts.kind_of(&file.bytes).map_err(refuse)?;
        let bytes = file.bytes.clone();
        let Some((read, write)) = format_of(kind) else {
            let original_name = names::kept(&file.name, kind.shown_ending());
            return Ok(Accepted { original_name, bytes, media_type: kind.media_type, ending: kind.ending });
        };
        let (wide, high, decoded) = size_of(&bytes, read).map_err(|_| refuse(NO_PICTURE.to_owned()))?;
        let pixels = u64::from(wide) * u64::from(high);
        let takes = decoded.saturating_mul(COPIES);
        if wide.max(high) > LARGEST_SIDE || pixels > MOST_PIXELS || takes > Memory::largest_picture() {
            return Err(refuse(format!(
                "This picture is too large: {wide} × {high} pixels. At most {LARGEST_SIDE} a side are taken, and {} million in \
                 all; fewer with transparency or more than 8 bits a colour.",
                MOST_PIXELS / 1_000_000
            )));
        }
        let share = self.memory.for_picture(takes).await?;
        let turn = self.redraws.clone().acquire_owned().await.map_err(Problem::internal)?;
        let small = accepts == Accepts::Images;
        let redrawn = tokio::task::spawn_blocking(move || {
            let redrawn = redraw(&bytes, read, write, small);
            drop((turn, share));
            redrawn
        });
        let bytes = redrawn.await.map_err(Problem::internal)?.map_err(refuse)?.into();
        let is_gif = kind.ending == "gif";
        let (media_type, ending) = if is_gif { ("image/png", "png") } else { (kind.media_type, kind.ending) };
        Ok(Accepted { original_name: names::kept(&file.name, ending), bytes, media_type, ending })
    }

    /// Writes a file to the disk and its row in this transaction.
    ///
    /// # Errors
    /// 409 `files_full` when the owner has as much as one may have; the database's failure or the disk's.
    pub async fn put(&self, tx: &mut PgConnection, owner: Id, file: &Accepted, public: bool) -> Answer<Stored> {
        refuse_beyond_share(tx, owner, file.bytes.len()).await?;
        let name = format!("{}.{}", uuid::Uuid::new_v4().simple(), file.ending);
        let path = self.root.join(if public { "public" } else { "private" }).join(&name);
        let hash = digest::digest(&digest::SHA256, &file.bytes);
        let id = sqlx::query_scalar!(
            "insert into stored_files (name, original_name, sha256, size, content_type, public, created_by)
             values ($1, $2, $3, $4, $5, $6, $7)
             returning id",
            name,
            file.original_name,
            hash.as_ref(),
            i64::try_from(file.bytes.len()).unwrap_or(i64::MAX),
            file.media_type,
            public,
            owner.0
        )
        .fetch_one(tx)
        .await?;
        write(&path, &file.bytes).await.map_err(|error| not_stored(error, &path))?;
        Ok(Stored { id: Id(id), path: Some(path) })
    }

    /// Removes the bytes of a public file whose row is gone.
    pub async fn discard_public(&self, name: &str) {
        if let Some(path) = self.public(name)
            && let Err(error) = tokio::fs::remove_file(path).await
        {
            tracing::warn!(%error, "a file without a row could not be removed");
        }
    }

    /// Removes the bytes of files that are deleted and that nothing refers to any more, and then their rows.
    ///
    /// # Errors
    /// The database's failure.
    pub async fn remove_deleted(&self, pool: &Pool) -> Answer<()> {
        let gone = sqlx::query!(
            r#"select f.id, f.name, f.public and not f.hidden as "public!"
               from stored_files f
              where f.deleted_at is not null
                and not exists (select from users u where u.profile_image_id = f.id)
                and not exists (select from ticket_files l where l.file_id = f.id)
                and not exists (select from scholarship_application_files l where l.file_id = f.id)
                and not exists (select from media_assets m where m.file_id = f.id)
                and not exists (select from resources r where r.file_id = f.id)
                and not exists (select from unit_resources r where r.file_id = f.id)
                and not exists (select from achievements a where a.badge_image_id = f.id)"#
        )
        .fetch_all(&mut *pool.acquire().await?)
        .await?;
        for file in gone {
            let path = self.root.join(if file.public { "public" } else { "private" }).join(&file.name);
            match tokio::fs::remove_file(path).await {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(%error, "a deleted file could not be removed");
                }
                _ => {
                    sqlx::query!("delete from stored_files where id = $1", file.id)
                        .execute(&mut *pool.acquire().await?)
                        .await?;
                }
            }
        }
        Ok(())
    }

    /// Moves the bytes of public files to where their rows say: what is deleted is not served any more, and what is restored
    /// is again. Several processes may do it at once; what fails is tried again by the sweep.
    ///
    /// # Errors
    /// The database's failure.
    pub async fn place(&self, pool: &Pool) -> Answer<()> {
        let moved = sqlx::query!("select id, name, hidden from stored_files where not placed order by id limit 1000")
            .fetch_all(&mut *pool.acquire().await?)
            .await?;
        for file in moved {
            let (public, private) =
                (self.root.join("public").join(&file.name), self.root.join("private").join(&file.name));
            let (from, to) = if file.hidden { (public, private) } else { (private, public) };
            match tokio::fs::rename(&from, &to).await {
                // Another has moved it, or there is nothing to move.
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(%error, "a file could not be moved to where it belongs");
                    continue;
                }
                _ => {}
            }
            sqlx::query!("update stored_files set placed = true where id = $1 and hidden = $2", file.id, file.hidden)
                .execute(&mut *pool.acquire().await?)
                .await?;
        }
        Ok(())
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

/// What the files of a student or a parent may take together, and those of anybody else, in bytes.
const SHARE: i64 = 500 * 1024 * 1024;
const SHARE_OF_STAFF: i64 = 50 * 1024 * 1024 * 1024;

/// Refuses a file that would take its owner beyond their share of the disk. Uploads of one person wait for each other here.
async fn refuse_beyond_share(tx: &mut PgConnection, owner: Id, bytes: usize) -> Answer<()> {
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended('files of ' || $1::bigint, 7093))", owner.0)
        .fetch_one(&mut *tx)
        .await?;
    let held = sqlx::query!(
        r#"select coalesce(sum(f.size), 0)::bigint as "bytes!",
                  coalesce((select u.user_type in ('student', 'parent') and not u.is_staff and not u.is_superuser
                              from users u
                             where u.id = $1), true) as "is_outsider!"
             from stored_files f
            where f.created_by = $1
              and f.deleted_at is null"#,
        owner.0
    )
    .fetch_one(tx)
    .await?;
    let share = if held.is_outsider { SHARE } else { SHARE_OF_STAFF };
    if held.bytes.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX)) <= share {
        return Ok(());
    }
    let mib = |bytes: i64| bytes / (1024 * 1024);
    Err(Problem::conflict(
        "files_full",
        format!(
            "Your files take {} MB of the {} MB that you may have. Ask the office to remove some.",
            mib(held.bytes),
            mib(share)
        ),
    ))
}

/// Written under another name and moved into place, so that half a file is never served; a failure leaves nothing.
async fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let partial = path.with_extension("partial");
    let written = async {
        tokio::fs::write(&partial, bytes).await?;
        tokio::fs::File::open(&partial).await?.sync_all().await?;
        tokio::fs::rename(&partial, path).await
    };
    let written = written.await;
    if written.is_err() {
        // There may be nothing to remove; the failure above is the one to tell.
        let _gone = tokio::fs::remove_file(&partial).await;
    }
    written
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

const NO_PICTURE: &str = "This is not a whole picture.";

fn redraw(bytes: &[u8], read: ImageFormat, write: ImageFormat, small: bool) -> Result<Vec<u8>, String> {
    let picture = decode(bytes, read, small).map_err(|_| NO_PICTURE.to_owned())?;
    let mut out = Cursor::new(Vec::new());
    picture.write_to(&mut out, write).map_err(|_| "This picture cannot be stored.".to_owned())?;
    Ok(out.into_inner())
}

/// A picture's width, height and bytes in memory, by its head.
fn size_of(bytes: &[u8], format: ImageFormat) -> image::ImageResult<(u32, u32, u64)> {
    let decoder = ImageReader::with_format(Cursor::new(bytes), format).into_decoder()?;
    let (wide, high) = decoder.dimensions();
    Ok((wide, high, decoder.total_bytes()))
}

/// Upright: the note which way a camera was held does not survive. What is shown small is made small before it is turned.
fn decode(bytes: &[u8], format: ImageFormat, small: bool) -> image::ImageResult<DynamicImage> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(LARGEST_SIDE);
    limits.max_image_height = Some(LARGEST_SIDE);
    limits.max_alloc = Some(Memory::largest_picture());
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder()?;
    limits.reserve(decoder.total_bytes())?;
    decoder.set_limits(limits)?;
    let orientation = decoder.orientation()?;
    let mut picture = DynamicImage::from_decoder(decoder)?;
    if small && picture.width().max(picture.height()) > SHOWN_SMALL {
        picture = picture.thumbnail(SHOWN_SMALL, SHOWN_SMALL);
    }
    picture.apply_orientation(orientation);
    Ok(picture)
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    #[test]
    fn a_full_disk_is_told_to_who_uploads_and_the_folder_to_who_looks_after_it() {
        let path = Path::new("/srv/swincms/media/private/a.pdf");
        for (kind, status, code) in [
            (ErrorKind::StorageFull, 507, "no_room"),
            (ErrorKind::QuotaExceeded, 507, "no_room"),
            (ErrorKind::ReadOnlyFilesystem, 503, "unavailable"),
            (ErrorKind::PermissionDenied, 503, "unavailable"),
            (ErrorKind::NotFound, 500, "internal"),
        ] {
            let problem = not_stored(Error::from(kind), path);
            assert_eq!((problem.status().as_u16(), problem.code()), (status, code), "{kind:?}");
            assert!(!problem.detail().contains("/srv"), "{}", problem.detail());
        }
    }
}
