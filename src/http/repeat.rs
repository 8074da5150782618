//! `Idempotency-Key`: an effect happens once for each key, and the kept answer is given again.
//!
//! The key's row is claimed inside the transaction of the effect, so claim, effect and kept answer commit together or
//! not at all: a refusal leaves the key free, and a crash leaves no key without its effect. Answers live for 24 hours.

use aws_lc_rs::{digest, hmac};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde_json::json;
use sqlx::PgConnection;

use super::answer::Kept;
use super::describe::{Describe, Notes, Schemas};
use super::problem::{Answer, Problem};
use crate::app::AppState;
use crate::db::{self, InTx, Scope};
use crate::ids::Id;

/// How a `POST` is to be performed: at most once for its key, or simply when it has none.
#[derive(Debug, Default)]
pub struct Repeat(Option<Key>);

#[derive(Debug)]
struct Key {
    sent: String,
    target: String,
    /// SHA-256. It does not leave the process: a body may carry a password, and whoever reads the table would guess it at the
    /// speed of this hash.
    body_hash: Vec<u8>,
}

impl Repeat {
    /// Reads the header.
    ///
    /// # Errors
    /// 400 unless it has 1-255 printable characters.
    pub(crate) fn asked(head: &mut Parts) -> Answer<Self> {
        let Some(header) = head.headers.get("idempotency-key") else { return Ok(Self(None)) };
        let printable =
            |key: &&str| (1..=255).contains(&key.len()) && key.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        let key = header.to_str().ok().filter(printable);
        let Some(key) = key else {
            return Err(Problem::invalid(
                "Idempotency-Key",
                "This header must have 1 to 255 printable ASCII characters.",
            ));
        };
        let target = format!("{} {}", head.method, head.uri.path().trim_end_matches('/'));
        Ok(Self(Some(Key { sent: key.to_owned(), target, body_hash: Vec::new() })))
    }

    /// The same for this body.
    pub(crate) fn of(self, body: &[u8]) -> Self {
        Self(self.0.map(|key| Key { body_hash: digest::digest(&digest::SHA256, body).as_ref().to_vec(), ..key }))
    }

    /// Runs `effect` in a transaction, where having called at all is access enough.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn once<'env, A, Effect>(&self, app: &AppState, caller: Id, effect: Effect) -> Answer<A>
    where
        A: Kept + Send,
        Effect: for<'t> Fn(&'t mut PgConnection, Scope<'t, 'env>) -> InTx<'t, A> + Send + Sync,
    {
        self.write(app, Some(caller), |_, _| Box::pin(async { Ok(()) }), effect).await
    }

    /// Runs `allow` and then `effect` in one transaction. Keys are their caller's: an anonymous request has none. When the key has a kept answer, only `allow` runs, so that
    /// access is checked again, and the kept answer is returned.
    ///
    /// # Errors
    /// 409 while the same key is being worked on, 422 when it was used with another body, and what the work refuses with.
    pub async fn write<'env, A, Allow, Effect>(
        &self,
        app: &AppState,
        caller: Option<Id>,
        allow: Allow,
        effect: Effect,
    ) -> Answer<A>
    where
        A: Kept + Send,
        Allow: for<'t> Fn(&'t mut PgConnection, Scope<'t, 'env>) -> InTx<'t, ()> + Send + Sync,
        Effect: for<'t> Fn(&'t mut PgConnection, Scope<'t, 'env>) -> InTx<'t, A> + Send + Sync,
    {
        let (allow, effect) = (&allow, &effect);
        db::write(&app.db, move |tx, _| {
            Box::pin(async move {
                let (Some(key), Some(caller)) = (&self.0, caller) else {
                    allow(tx, Scope::new()).await?;
                    return effect(tx, Scope::new()).await;
                };
                let kept = key.kept_answer(app, tx, caller).await?;
                allow(tx, Scope::new()).await?;
                if let Some(kept) = kept {
                    return Ok(A::again(kept));
                }
                let answer = effect(tx, Scope::new()).await?;
                key.keep(app, tx, caller, answer.bytes()).await?;
                Ok(answer)
            })
        })
        .await
    }
}

impl Repeat {
    /// The kept answer, for what is done before the transaction of its effect, such as a call to the outside. The
    /// transaction itself asks again.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn answered<A: Kept + Send>(&self, app: &AppState, caller: Id) -> Answer<Option<A>> {
        let Some(key) = &self.0 else { return Ok(None) };
        let kept = db::write(&app.db, |tx, _| Box::pin(key.kept_answer(app, tx, caller))).await?;
        Ok(kept.map(A::again))
    }
}

impl Key {
    /// What is stored of the body: without the server's secret nothing can be compared with it.
    fn sealed_body(&self, app: &AppState) -> Vec<u8> {
        hmac::sign(&app.bodies, &self.body_hash).as_ref().to_vec()
    }

    async fn kept_answer(&self, app: &AppState, tx: &mut PgConnection, caller: Id) -> Answer<Option<Vec<u8>>> {
        let name = format!("{}\n{}\n{}", caller, self.target, self.sent);
        let free =
            sqlx::query_scalar!(r#"select pg_try_advisory_xact_lock(hashtextextended($1, 7091)) as "free!""#, name)
                .fetch_one(&mut *tx)
                .await?;
        if !free {
            return Err(Problem::conflict(
                "request_in_progress",
                "A request with this Idempotency-Key is still being worked on. Try again in a second.",
            )
            .retry_after(1));
        }
        let kept = sqlx::query!(
            "select body_hash, body
               from idempotency_keys
              where user_id = $1
                and key = $2
                and target = $3
                and created_at > now() - interval '24 hours'",
            caller.0,
            self.sent,
            self.target
        )
        .fetch_optional(tx)
        .await?;
        match kept {
            // Rows of the release before have the digest itself; they live for a day.
            Some(kept) if kept.body_hash != self.sealed_body(app) && kept.body_hash != self.body_hash => {
                Err(Problem::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "idempotency_key_reused",
                    "This Idempotency-Key was already used with another body.",
                ))
            }
            kept => Ok(kept.and_then(|kept| kept.body)),
        }
    }

    async fn keep(&self, app: &AppState, tx: &mut PgConnection, caller: Id, body: &[u8]) -> Answer<()> {
        sqlx::query!(
            "insert into idempotency_keys (user_id, key, target, body_hash, status, body, created_at)
             values ($1, $2, $3, $4, 200, $5, now())
             on conflict (user_id, key, target) do update
                set body_hash = excluded.body_hash,
                    body = excluded.body,
                    created_at = excluded.created_at",
            caller.0,
            self.sent,
            self.target,
            self.sealed_body(app),
            body
        )
        .execute(tx)
        .await?;
        Ok(())
    }
}

impl Describe for Repeat {
    fn describe(notes: &mut Notes, _: &mut Schemas) {
        notes.parameter(
            "header",
            "Idempotency-Key",
            json!({ "type": "string", "minLength": 1, "maxLength": 255 }),
            "Performs the effect once; the answer is kept for 24 hours.",
        );
        notes.refuses(409, "A value is taken, the state does not allow it, or the same key is being worked on.");
        notes.refuses(422, "The Idempotency-Key was used with another body.");
    }
}
