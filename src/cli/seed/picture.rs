//! The picture of the demo's student: drawn here, and taken in by the rules for uploads.

use std::io::Cursor;
use std::path::Path;

use image::{ImageFormat, Rgb, RgbImage};
use sqlx::PgConnection;

use crate::files::{Accepted, Accepts, Admitted, FileStore, UploadedFile, Written};
use crate::http::{Answer, Problem};
use crate::ids::Id;
use crate::users::accounts::set_image;

/// Whose it is.
pub(super) const OF: &str = "student@swin.edu.au";

/// Pixels a side.
const SIDE: u32 = 256;

/// A picture that waits for its owner.
pub(super) struct Picture {
    files: FileStore,
    accepted: Accepted,
}

impl Picture {
    /// Draws it.
    ///
    /// # Errors
    /// When the folder for files cannot be made.
    pub(super) async fn draw(media_root: &Path) -> Answer<Self> {
        let files = FileStore::new(media_root);
        files.prepare().map_err(Problem::internal)?;
        let mut png = Cursor::new(Vec::new());
        face().write_to(&mut png, ImageFormat::Png).map_err(Problem::internal)?;
        let file = UploadedFile::new("file", "portrait.png", png.into_inner());
        let admitted = Admitted::after(async { Ok(()) }).await?;
        let accepted = files.accept(&admitted, &file, Accepts::Images).await?;
        Ok(Self { files, accepted })
    }

    /// Makes it this person's. The bytes stay when `written` is kept.
    ///
    /// # Errors
    /// The database's failure or the disk's.
    pub(super) async fn hang(&self, tx: &mut PgConnection, owner: Id, written: &Written) -> Answer<()> {
        let stored = self.files.put(tx, owner, &self.accepted, true).await?;
        set_image(tx, owner, stored.id).await?;
        written.hold(stored);
        Ok(())
    }
}

/// Head and shoulders before a plain wall.
fn face() -> RgbImage {
    let is_within = |x: u32, y: u32, (across, down): (u32, u32), (wide, high): (u32, u32)| {
        let (x, y) = (f64::from(x.abs_diff(across)) / f64::from(wide), f64::from(y.abs_diff(down)) / f64::from(high));
        x * x + y * y <= 1.0
    };
    RgbImage::from_fn(SIDE, SIDE, |x, y| {
        let middle = SIDE / 2;
        if is_within(x, y, (middle, 108), (42, 50)) {
            Rgb([236, 200, 172])
        } else if is_within(x, y, (middle, 98), (56, 60)) {
            Rgb([52, 40, 38])
        } else if is_within(x, y, (middle, SIDE), (96, 90)) {
            Rgb([38, 84, 124])
        } else {
            Rgb([214, 226, 222])
        }
    })
}
