//! Access and refresh tokens: JSON Web Tokens, HS256, each bound to a stored session that can be revoked.

use aws_lc_rs::digest;
use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize};

use crate::http::{Answer, Problem};
use crate::ids::Id;

/// How long a refresh token, and with it a session, lives.
pub const REFRESH_HOURS: i64 = 24;

/// How long an access token lives that no session stands for.
const UNSTORED_SECONDS: i64 = 15 * 60;

/// How far the clocks of two server processes may differ, in seconds.
const LEEWAY: i64 = 2;

/// Signs and reads tokens. Times come as arguments, so that tests fix them.
pub struct Tokens {
    signing: EncodingKey,
    reading: DecodingKey,
    access_seconds: i64,
}

/// What a token says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// `access` or `refresh`.
    pub token_type: Kind,
    /// When it ends, in seconds of the Unix epoch.
    pub exp: i64,
    /// When it was made.
    pub iat: i64,
    /// Its own id.
    pub jti: String,
    /// Whose it is.
    #[serde(deserialize_with = "number")]
    pub user_id: Id,
    /// The session that it belongs to.
    #[serde(rename = "session_id", deserialize_with = "number")]
    pub session: Id,
    /// Of a log-in while the database could not be written, which no session stands for (its number is 0): the account's
    /// `security_version` then. With that changed, as by a new password, the token is void.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unstored: Option<i64>,
}

/// An id as we write it; in a token of ours it is never text.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<Id, D::Error> {
    i64::deserialize(from).map(Id)
}

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Sent with requests.
    Access,
    /// Exchanged for access tokens.
    Refresh,
}

impl Tokens {
    /// With the server's secret.
    #[must_use]
    pub fn new(secret: &SecretString, access: std::time::Duration) -> Self {
        let secret = secret.expose_secret().as_bytes();
        Self {
            signing: EncodingKey::from_secret(secret),
            reading: DecodingKey::from_secret(secret),
            access_seconds: i64::try_from(access.as_secs()).unwrap_or(3600),
        }
    }

    /// A new token of this session.
    ///
    /// # Errors
    /// 500 when it cannot be signed.
    pub fn make(&self, kind: Kind, user_id: Id, session: Id, now: DateTime<Utc>) -> Answer<String> {
        self.sign(kind, user_id, session, None, now)
    }

    /// A new token that no session stands for, with the account's `security_version`: the access token is short-lived, since
    /// nobody can log it out.
    ///
    /// # Errors
    /// 500 when it cannot be signed.
    pub fn make_unstored(&self, kind: Kind, user_id: Id, version: i64, now: DateTime<Utc>) -> Answer<String> {
        self.sign(kind, user_id, Id(0), Some(version), now)
    }

    fn sign(&self, kind: Kind, user_id: Id, session: Id, unstored: Option<i64>, now: DateTime<Utc>) -> Answer<String> {
        let life = match (kind, unstored) {
            (Kind::Access, None) => self.access_seconds,
            (Kind::Access, Some(_)) => self.access_seconds.min(UNSTORED_SECONDS),
            (Kind::Refresh, _) => REFRESH_HOURS * 3600,
        };
        let claims = Claims {
            token_type: kind,
            exp: now.timestamp() + life,
            iat: now.timestamp(),
            jti: uuid::Uuid::new_v4().simple().to_string(),
            user_id,
            session,
            unstored,
        };
        encode(&Header::new(Algorithm::HS256), &claims, &self.signing).map_err(Problem::internal)
    }

    /// The claims of an access token.
    ///
    /// # Errors
    /// 401 unless it is one of ours, of this kind, and in its time.
    pub fn access(&self, token: &str, now: DateTime<Utc>) -> Answer<Claims> {
        self.read(token, now).filter(|claims| claims.token_type == Kind::Access).ok_or_else(Problem::bad_token)
    }

    /// The claims of a refresh token.
    ///
    /// # Errors
    /// 401 unless it is one of ours, of this kind, and in its time.
    pub fn refresh(&self, token: &str, now: DateTime<Utc>) -> Answer<Claims> {
        self.read(token, now).filter(|claims| claims.token_type == Kind::Refresh).ok_or_else(Problem::bad_token)
    }

    /// The claims of a token of either kind.
    #[must_use]
    pub fn read(&self, token: &str, now: DateTime<Utc>) -> Option<Claims> {
        if token.len() > 4096 {
            return None;
        }
        // A header that names a key, or anything else that we do not write, is not ours.
        if decode_header(token).ok()? != Header::new(Algorithm::HS256) {
            return None;
        }
        let mut rules = Validation::new(Algorithm::HS256);
        rules.validate_exp = false;
        rules.validate_aud = false;
        rules.required_spec_claims.clear();
        let claims = decode::<Claims>(token, &self.reading, &rules).ok()?.claims;
        let now = now.timestamp();
        // When it was made is of another process's clock, and no reason to refuse it (RFC 7519, 4.1.6): else whoever is given a token
        // by a server whose clock is ahead is refused by the next, and everybody is out when a clock is set back.
        let in_time = claims.exp > now - LEEWAY;
        let longest = self.access_seconds.max(REFRESH_HOURS * 3600);
        (in_time && (1..=longest).contains(&claims.exp.saturating_sub(claims.iat))).then_some(claims)
    }
}

/// What is stored of a refresh token.
#[must_use]
pub fn hash(token: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, token.as_bytes()).as_ref().to_vec()
}

/// A secret of 256 bits for links, as URL-safe text.
///
/// # Errors
/// 500 when the system gives no randomness.
pub fn random() -> Answer<String> {
    use base64::Engine;
    let mut bytes = [0_u8; 32];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| Problem::internal(anyhow::anyhow!("the system gives no randomness")))?;
    Ok(base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(bytes))
}
