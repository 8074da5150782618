//! The key that a developer's machine keeps.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;

use super::SHORTEST_KEY;

/// The key kept in `DATA_DIR/secret_key`, made when it is not there; two processes that start at once get the same.
pub(super) fn kept_secret_key(data_dir: &Path) -> Result<SecretString, String> {
    let path = data_dir.join("secret_key");
    keep_key_at(&path)
        .map_err(|error| format!("is not set, and none can be kept in {}: {error}; set SECRET_KEY", path.display()))
}

/// Makes `DATA_DIR` where it is missing. It belongs to whom the folder above belongs to, so that a start as root does
/// not lock out the tree's owner.
pub(crate) fn make_data_dir(dir: &Path) -> std::io::Result<()> {
    if dir.try_exists()? {
        return Ok(());
    }
    fs::create_dir_all(dir)?;
    let above = dir.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    same_owner(dir, above)
}

/// Gives to the owner of `model` what root made for them.
pub(super) fn same_owner(made: &Path, model: &Path) -> std::io::Result<()> {
    let owner = fs::metadata(model)?;
    if fs::metadata(made)?.uid() == 0 && owner.uid() != 0 {
        chown(made, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

pub(super) fn keep_key_at(path: &Path) -> std::io::Result<SecretString> {
    if !path.try_exists()? {
        let folder = path.parent().unwrap_or(Path::new("."));
        make_data_dir(folder)?;
        let mut random = [0_u8; 48];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| std::io::Error::other("the system gives no random bytes"))?;
        // Written aside and then linked, so that nobody ever reads half a key and the first of two writers wins.
        let aside = path.with_extension(uuid::Uuid::new_v4().simple().to_string());
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
        same_owner(&aside, folder)?;
        let linked = file
            .write_all(URL_SAFE_NO_PAD.encode(random).as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::hard_link(&aside, path));
        fs::remove_file(&aside)?;
        if let Err(error) = linked
            && error.kind() != std::io::ErrorKind::AlreadyExists
        {
            return Err(error);
        }
    }
    if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    }
    let key = fs::read_to_string(path)?.trim().to_owned();
    if key.len() < SHORTEST_KEY {
        return Err(std::io::Error::other("the file holds no key; delete it and a new one is made"));
    }
    Ok(key.into())
}
