//! Whether files can be stored: the folders are there and can be written, and the largest upload still fits.

use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Access, access, statvfs};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Fault, Part};
use crate::app::AppState;

const EVERY: Duration = Duration::from_secs(2);
/// A file system of the network may not answer at all.
const PATIENCE: Duration = Duration::from_secs(3);

/// Looks every few seconds until `stop`.
pub async fn look_after(app: AppState, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let (root, most) = (app.config.media_root.clone(), app.config.max_upload_bytes as u64);
        let looking = tokio::task::spawn_blocking(move || fault(&root, most));
        let fault = match timeout(PATIENCE, looking).await {
            Ok(Ok(fault)) => fault,
            Ok(Err(_)) => None,
            Err(_) => {
                let root = app.config.media_root.display();
                Some(Fault::Files(format!("{root} does not answer (MEDIA_ROOT)")))
            }
        };
        app.database.found(Part::Files, fault.as_slice());
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(EVERY) => {}
        }
    }
}

/// What keeps an upload of so many bytes from being stored below this folder.
pub(crate) fn fault(root: &Path, most: u64) -> Option<Fault> {
    let found = ["public", "private"].iter().find_map(|folder| {
        let folder = root.join(folder);
        match room(&folder) {
            Err(error) => Some(format!("{} cannot be written (MEDIA_ROOT): {error}", folder.display())),
            Ok(free) if free < most => Some(format!(
                "{} has {free} bytes left (MEDIA_ROOT), and an upload may have {most} (MAX_UPLOAD_MB)",
                folder.display()
            )),
            Ok(_) => None,
        }
    });
    found.map(Fault::Files)
}

/// The bytes that are free in a folder that can be written.
fn room(folder: &Path) -> io::Result<u64> {
    access(folder, Access::WRITE_OK | Access::EXEC_OK)?;
    let space = statvfs(folder)?;
    Ok(space.f_bavail.saturating_mul(space.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_missing_and_one_with_too_little_room_are_told_with_their_setting() {
        let root = std::env::temp_dir().join(format!("swincms-room-{}", uuid::Uuid::new_v4().simple()));
        let says = |most| fault(&root, most).map(|fault| fault.to_string());
        let missing = says(1).unwrap();
        assert!(missing.contains("public cannot be written (MEDIA_ROOT)"), "{missing}");
        for folder in ["public", "private"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        assert_eq!(says(1), None);
        let full = says(u64::MAX).unwrap();
        assert!(full.contains("bytes left (MEDIA_ROOT)") && full.contains("MAX_UPLOAD_MB"), "{full}");
        std::fs::remove_dir_all(root).unwrap();
    }
}
