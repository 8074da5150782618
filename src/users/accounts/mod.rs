//! Accounts: who a person is, what they write of themselves, and what only administrators write.

mod brief;
mod handlers;
mod profile;
mod register;
mod standing;
mod store;
mod user;

use crate::http::{Routes, list, show};

pub use brief::UserBrief;
pub(crate) use brief::user_brief;
pub use register::NewUser;
pub(super) use register::{REFUSALS, add_confirmed};
pub(super) use store::lock;
pub(crate) use store::{owner, set_image, set_password};
pub use user::{Recipient, Student, User};

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/users")
        .get("/", list::<Recipient>, "Lists the people one may write to: active staff, convenors and administrators.")
        .get("/users/", handlers::list, "Lists the users whom the caller may see.")
        .post("/users/", register::create, "Registers a student; an administrator creates any user.")
        .refuses(403, "Registration is closed, or the fields are not the caller's to set.")
        .get("/users/me/", handlers::me, "Shows the caller, with permissions and, for convenors, units.")
        .put("/users/update_profile/", handlers::update_profile, "Changes the caller's own profile.")
        .patch("/users/update_profile/", handlers::update_profile, "Changes the caller's own profile.")
        .put("/update_profile/", handlers::update_profile_short, "Changes the caller's own profile.")
        .patch("/update_profile/", handlers::update_profile_short, "Changes the caller's own profile.")
        .post(
            "/users/me/password/",
            handlers::change_password,
            "Changes the caller's password; all other sessions end.",
        )
        .refuses(429, "Too many wrong passwords; see Retry-After.")
        .post("/users/me/profile_image/", handlers::profile_image, "Sets the caller's picture.")
        .get("/users/{id}/", handlers::show_one, "Shows a user.")
        .put("/users/{id}/", handlers::replace, "Replaces a user's writable fields.")
        .patch("/users/{id}/", handlers::change, "Changes a user's writable fields.")
        .delete("/users/{id}/", handlers::deactivate, "Deactivates a user and revokes the sessions; records stay.")
        .post("/users/{id}/restore/", handlers::reactivate, "Activates a user again.")
        .get("/students/", handlers::students, "Lists students.")
        .get("/students/{id}/", show::<Student>, "Shows a student.")
}
