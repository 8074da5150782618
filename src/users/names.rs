//! Addresses and user names as they are compared: one way of folding them, used wherever one comes in.
//!
//! What is stored is what was typed, and only what folds as the database's `lower` does may be stored; so `lower(column) =
//! fold(what came in)` finds it, and no second spelling does.

use unicode_normalization::UnicodeNormalization as _;
use unicode_security::skeleton;

use crate::http::Faults;

/// As addresses and user names are compared: without spaces around them, in compatible letters (NFKC), in lower case.
#[must_use]
pub fn fold(name: &str) -> String {
    name.trim().nfkc().flat_map(char::to_lowercase).nfkc().collect()
}

/// What a user name looks like, if it is not plain ASCII: each other letter as the one that it is mistaken for.
///
/// ASCII letters stay themselves, so that `modern` and `modem`, which some take for alike, are two names.
#[must_use]
pub fn look(username: &str) -> Option<String> {
    if username.is_ascii() {
        return None;
    }
    let mut look = String::new();
    for letter in fold(username).chars() {
        if letter.is_ascii() {
            look.push(letter);
        } else {
            look.extend(skeleton(letter.encode_utf8(&mut [0; 4])).flat_map(char::to_lowercase));
        }
    }
    Some(look.nfkc().collect())
}

/// Whether a name is written in the letters that it is compared by, but for their case.
fn is_plain(name: &str) -> bool {
    name.nfkc().eq(name.chars()) && name.chars().all(|letter| letter.to_lowercase().count() == 1)
}

/// Adds what keeps an address and a user name from being told apart from others'.
pub(crate) fn check(faults: &mut Faults, email: &str, username: &str) {
    for (field, name) in [("email", email), ("username", username)] {
        faults.unless(is_plain(name), field, "Write it with plain letters, without ligatures and the like.");
    }
    let is_own = !username.contains('@') || fold(username) == fold(email);
    faults.unless(is_own, "username", "A user name with @ must be the person's own email address.");
}

/// Adds why no mail of ours can reach an address; empty ones are for others to refuse.
pub(crate) fn check_reachable(faults: &mut Faults, field: &str, email: &str) {
    let Some((local, domain)) = email.trim().rsplit_once('@') else { return };
    faults.unless(local.is_ascii(), field, "Mail cannot be sent to an address with such letters before the @.");
    let is_plain = !local.starts_with('"') && !domain.starts_with('[') && domain.contains('.');
    faults.unless(is_plain, field, "Give an address that mail can reach, such as name@example.edu.");
    // One spelling of each domain, so that each address is one: no `xn--`, and no signs that such names drop or replace.
    let folded = domain.to_lowercase();
    let (read, known) = idna::domain_to_unicode(&folded);
    let is_own = known.is_ok() && read == folded;
    faults.unless(!is_plain || is_own, field, "Write the domain in its own letters, such as name@đạihọc.vn.");
}

/// An address as mail servers know it: a domain in other letters is spelt in ASCII there (RFC 5891).
pub(crate) fn for_mail(email: &str) -> Option<String> {
    let (local, domain) = email.rsplit_once('@')?;
    Some(format!("{local}@{}", idna::domain_to_ascii(domain).ok()?))
}

#[cfg(test)]
mod tests {
    use super::{check_reachable, fold, for_mail, is_plain, look};
    use crate::http::Faults;

    #[test]
    fn a_domain_in_other_letters_has_one_spelling_and_mail_goes_to_its_ascii_form() {
        for (email, taken) in [
            ("an@đạihọc.vn", true),
            ("an@ĐẠIHỌC.vn", true),
            ("an@swin.edu.vn", true),
            ("an@my_host.edu.vn", true),
            ("an@xn--ihc-uqa4598avha.vn", false),
            ("an@\u{111}\u{1ea1}ih\u{1ecd}c\u{3002}vn", false),
            ("an@sw\u{ad}in.edu.vn", false),
            ("nguyễn@swin.edu.vn", false),
        ] {
            let mut faults = Faults::default();
            check_reachable(&mut faults, "email", email);
            assert_eq!(faults.is_empty(), taken, "{email}");
        }
        let ascii = idna::domain_to_ascii("đạihọc.vn").map(|domain| format!("an@{domain}"));
        assert_eq!(for_mail("an@ĐẠIHỌC.vn"), ascii.ok());
        assert_eq!(for_mail("An@swin.edu.vn").as_deref(), Some("An@swin.edu.vn"));
    }

    #[test]
    fn names_are_folded_in_one_way() {
        for (typed, folded) in [
            (" Ann@Swin.EDU.au ", "ann@swin.edu.au"),
            ("\u{ff21}nn", "ann"),
            ("Zoe\u{308}", "zo\u{eb}"),
            ("\u{130}da", "i\u{307}da"),
            ("\u{212a}elvin", "kelvin"),
        ] {
            assert_eq!(fold(typed), folded, "{typed}");
            assert_eq!(fold(&fold(typed)), folded, "{typed} twice");
        }
        for (name, plain) in [("Zo\u{eb}", true), ("Zoe\u{308}", false), ("\u{130}da", false), ("\u{fb01}n", false)] {
            assert_eq!(is_plain(name), plain, "{name}");
        }
    }

    #[test]
    fn a_name_looks_like_another_and_ascii_like_itself() {
        for (name, looks) in [
            ("ann", None),
            ("modern", None),
            ("\u{430}nn", Some("ann")),
            ("\u{410}nn", Some("ann")),
            ("m\u{430}ry.0", Some("mary.0")),
            ("adm\u{131}n", Some("admin")),
            ("zo\u{eb}", Some("zo\u{eb}")),
        ] {
            assert_eq!(look(name).as_deref(), looks, "{name}");
        }
    }
}
