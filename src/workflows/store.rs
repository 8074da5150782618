//! The SQL of calling workflows: what is due, what was begun, and how it ended.

use serde_json::Value;
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::ask::Question;
use super::client::Failure;
use super::definitions::Configuration;
use crate::ids::{Id, Moment};

/// The most of an answer that the log keeps, in bytes of JSON.
const LONGEST_KEPT: usize = 64 * 1024;

/// A call that is in the log and is to be made now.
pub(super) struct Begun {
    pub(super) execution: Id,
    pub(super) target: String,
    pub(super) secrets: Vec<Vec<u8>>,
    pub(super) at: Moment,
}

/// Puts the call of the active workflow for the question's trigger into the log; none when no workflow listens.
pub(super) async fn begin_call(
    conn: &mut PgConnection,
    execution: Uuid,
    question: &Question<'_>,
) -> sqlx::Result<Option<Begun>> {
    let begun = sqlx::query!(
        r#"with workflow as (
               select id, configuration
                 from workflows
                where trigger_event = $2
                  and is_active
                  and deleted_at is null
                order by id
                limit 1
           ), begun as (
               insert into workflow_executions (execution_id, workflow_id, triggered_by_id, trigger_event, input_data)
               select $1, id, $3, $2, $4
                 from workflow
               returning id, start_time
           )
           select begun.id as "id: Id",
                  begun.start_time as "at: Moment",
                  w.configuration as "configuration: Json<Configuration>",
                  array(select s.secret
                          from workflow_secrets s
                         where s.workflow_id = w.id
                           and (s.retired_at is null or s.retired_at > rule_now() - interval '24 hours')
                         order by s.id desc) as "secrets!"
             from workflow w
            cross join begun"#,
        execution,
        question.trigger,
        question.by.0,
        question.payload
    )
    .fetch_optional(conn)
    .await?;
    Ok(begun.map(|begun| Begun {
        execution: begun.id,
        target: begun.configuration.0.target().to_owned(),
        secrets: begun.secrets,
        at: begun.at,
    }))
}

/// Puts the end of a call that somebody waited for into the log.
pub(super) async fn end_call(
    conn: &mut PgConnection,
    execution: Id,
    ended: &Result<Value, Failure>,
) -> sqlx::Result<()> {
    let Ended { output, error } = Ended::of(ended);
    sqlx::query!(
        "with ended as (
             update workflow_executions
                set status = case when $3 = '' then 'completed' else 'failed' end,
                    end_time = greatest(start_time, rule_now()),
                    output_data = $2,
                    error_details = $3
              where id = $1
             returning workflow_id
         )
         update workflows
            set last_run = rule_now(),
                error_count = error_count + case when $3 = '' then 0 else 1 end
          where id in (select workflow_id from ended)",
        execution.0,
        output,
        error
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How a call ended, as the log keeps it.
struct Ended {
    output: Option<Value>,
    /// Empty when it succeeded.
    error: String,
}

impl Ended {
    fn of(ended: &Result<Value, Failure>) -> Self {
        let (output, error) = match ended {
            Ok(answer) => (Some(answer), String::new()),
            Err(failure) => (failure.answered.as_ref(), failure.says.chars().take(2000).collect()),
        };
        let output = output.map(|output| {
            let text = output.to_string();
            if text.len() <= LONGEST_KEPT {
                return output.clone();
            }
            Value::String(text.chars().take(LONGEST_KEPT / 4).chain("…".chars()).collect())
        });
        Self { output, error }
    }
}

/// Who waits for messages that are due.
pub(super) struct Receiver {
    /// None is the receiver of event files, which the operator's settings name.
    pub(super) workflow: Option<Id>,
    /// None without a workflow.
    pub(super) configuration: Option<Json<Configuration>>,
    pub(super) secrets: Vec<Vec<u8>>,
}

/// The receivers of messages that are due now.
pub(super) async fn due(conn: &mut PgConnection, also_files: bool) -> sqlx::Result<Vec<Receiver>> {
    sqlx::query_as!(
        Receiver,
        r#"select w.id as "workflow: Id",
                  w.configuration as "configuration: Json<Configuration>",
                  array(select s.secret
                          from workflow_secrets s
                         where s.workflow_id = w.id
                           and (s.retired_at is null or s.retired_at > rule_now() - interval '24 hours')
                         order by s.id desc) as "secrets!"
             from workflows w
            where w.is_active
              and w.deleted_at is null
              and exists (select
                            from webhook_outbox m
                           where m.workflow_id = w.id
                             and m.state = 'pending'
                             and m.next_at <= rule_now())
            union all
           select null, null, array[]::bytea[]
            where $1
              and exists (select
                            from webhook_outbox m
                           where m.workflow_id is null
                             and m.state = 'pending'
                             and m.next_at <= rule_now())"#,
        also_files
    )
    .fetch_all(conn)
    .await
}

/// A message that this process alone delivers until its lease is over.
pub(super) struct Leased {
    pub(super) id: Id,
    /// The how manieth attempt this is.
    pub(super) attempt: i32,
    pub(super) execution: Id,
    pub(super) object_key: String,
    pub(super) payload: Value,
    pub(super) created_at: Moment,
}

/// Leases the oldest messages of a receiver that are due and follow no older one about their object, and puts a call of
/// each into the log. What a process that died had begun is closed there.
pub(super) async fn lease(
    conn: &mut PgConnection,
    workflow: Option<Id>,
    most: i64,
    milliseconds: f64,
) -> sqlx::Result<Vec<Leased>> {
    // While it is leased a message is not due, so that no index leads to it.
    sqlx::query_as!(
        Leased,
        r#"with chosen as (
               select m.id
                 from webhook_outbox m
                where (m.workflow_id = $1 or ($1 is null and m.workflow_id is null))
                  and m.state = 'pending'
                  and m.next_at <= rule_now()
                  and not exists (select
                                    from webhook_outbox older
                                   where older.object_key = m.object_key
                                     and older.workflow_id is not distinct from m.workflow_id
                                     and older.state = 'pending'
                                     and older.id < m.id)
                order by m.next_at, m.id
                limit $2
                  for update skip locked
           ), abandoned as (
               update workflow_executions
                  set status = 'failed',
                      end_time = greatest(start_time, rule_now()),
                      error_details = 'The server stopped during the call.'
                where message_id in (select id from chosen)
                  and status = 'running'
           ), leased as (
               update webhook_outbox m
                  set attempts = attempts + 1,
                      leased_until = rule_now() + $3 * interval '1 millisecond',
                      next_at = rule_now() + $3 * interval '1 millisecond'
                 from chosen
                where m.id = chosen.id
               returning m.id, m.attempts, m.trigger_event, m.object_key, m.payload, m.created_at, m.workflow_id
           ), begun as (
               insert into workflow_executions (workflow_id, message_id, trigger_event, input_data)
               select workflow_id, id, trigger_event, payload
                 from leased
               returning id, message_id
           )
           select leased.id as "id: Id",
                  leased.attempts as attempt,
                  begun.id as "execution: Id",
                  leased.object_key,
                  leased.payload,
                  leased.created_at as "created_at: Moment"
             from leased
             join begun on begun.message_id = leased.id
            order by leased.id"#,
        workflow as Option<Id>,
        most,
        milliseconds
    )
    .fetch_all(conn)
    .await
}

/// Puts the end of a delivery into the log and the queue. A failure is tried again after 1, 2, 4 … seconds with full
/// jitter, at most an hour, all divided by `speed`. A lease that another process has taken over meanwhile is left to it.
pub(super) async fn end_delivery(
    conn: &mut PgConnection,
    message: &Leased,
    ended: &Result<Value, Failure>,
    speed: f64,
) -> sqlx::Result<()> {
    let Ended { output, error } = Ended::of(ended);
    sqlx::query!(
        "with ended as (
             update workflow_executions
                set status = case when $5 = '' then 'completed' else 'failed' end,
                    end_time = greatest(start_time, rule_now()),
                    output_data = $4,
                    error_details = $5
              where id = $1
                and status = 'running'
             returning workflow_id
         ), settled as (
             update webhook_outbox
                set state = case when $5 = '' then 'delivered' else 'pending' end,
                    delivered_at = case when $5 = '' then rule_now() end,
                    leased_until = null,
                    last_error = $5,
                    next_at = rule_now()
                              + random() * least(3600, power(2, least(attempts, 13) - 1)) / $6 * interval '1 second'
              where id = $2
                and attempts = $3
                and state = 'pending'
         )
         update workflows
            set last_run = rule_now(),
                error_count = error_count + case when $5 = '' then 0 else 1 end
          where id in (select workflow_id from ended)",
        message.execution.0,
        message.id.0,
        message.attempt,
        output,
        error,
        speed
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives up on messages whose time is over or whose workflow was deleted; the number of them.
pub(super) async fn give_up(conn: &mut PgConnection) -> sqlx::Result<u64> {
    let given_up = sqlx::query!(
        "update webhook_outbox m
            set state = 'dead',
                leased_until = null,
                last_error = case when last_error = '' then 'The workflow was not active in time.' else last_error end
          where state = 'pending'
            and (leased_until is null or leased_until <= rule_now())
            and (give_up_at <= rule_now()
                 or exists (select from workflows w where w.id = m.workflow_id and w.deleted_at is not null))"
    )
    .execute(conn)
    .await?;
    Ok(given_up.rows_affected())
}

/// Of what people asked the advisor more than a day ago, and of the answers, the log keeps the size.
pub(crate) async fn forget_questions(conn: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!(
        "update workflow_executions
            set input_data = jsonb_build_object('bytes', octet_length(input_data::text)),
                output_data = case when output_data is not null
                                   then jsonb_build_object('bytes', octet_length(output_data::text)) end
          where trigger_event = 'student.ask'
            and input_data ? 'message'
            and created_at < rule_now() - interval '1 day'"
    )
    .execute(conn)
    .await?;
    Ok(())
}
