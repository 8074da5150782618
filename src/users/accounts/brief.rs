//! A person within another object.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::{UserType, Viewer};
use crate::ids::{Id, Moment};

/// A person as other objects show them: without what is private, and also when deactivated.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct UserBrief {
    /// The user's id.
    pub id: Id,
    /// The address to log in and to be written to.
    pub email: String,
    username: String,
    /// Given name.
    pub first_name: String,
    /// Family name.
    pub last_name: String,
    is_staff: bool,
    user_type: UserType,
    department: String,
    position: String,
    bio: String,
    /// An absolute URL.
    profile_image: Option<String>,
    created_at: Moment,
    updated_at: Moment,
}

impl UserBrief {
    /// The person as this viewer sees them: the picture's name becomes its address.
    #[must_use]
    pub(crate) fn seen(self, viewer: &Viewer) -> Self {
        Self { profile_image: self.profile_image.map(|name| viewer.public_url(&name)), ..self }
    }
}

/// SQL for a column that `#[sqlx(json)] student: UserBrief` reads, where `$user` is the alias of the row of `users`
/// and `$image` that of its picture in `stored_files`; for `concat!`.
macro_rules! user_brief {
    ($user:literal, $image:literal) => {
        concat!(
            "jsonb_build_object(
           'id', ",
            $user,
            ".id,
           'email', ",
            $user,
            ".email,
           'username', ",
            $user,
            ".username,
           'first_name', ",
            $user,
            ".first_name,
           'last_name', ",
            $user,
            ".last_name,
           'is_staff', ",
            $user,
            ".is_staff,
           'user_type', ",
            $user,
            ".user_type,
           'department', ",
            $user,
            ".department,
           'position', ",
            $user,
            ".position,
           'bio', ",
            $user,
            ".bio,
           'profile_image', ",
            $image,
            ".name,
           'created_at', ",
            $user,
            ".created_at,
           'updated_at', ",
            $user,
            ".updated_at)"
        )
    };
}
pub(crate) use user_brief;
