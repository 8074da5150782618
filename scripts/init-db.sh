#!/usr/bin/env bash
# Makes the database and its roles, each with no more rights than it needs. It may be run again at any time.
#
#   ./scripts/init-db.sh            as a superuser: all of it
#   ./scripts/init-db.sh --grants   as the migration role, after migrations: only what the application may do with the tables
#
#   swincms_owner     owns the database and all in it; nobody logs in as it
#   swincms_migrate   logs in to run migrations, and acts as the owner
#   swincms           the server: reads, adds and changes rows; deletes them where the server does; logs and ledgers only read
#                     and added to; no statement that changes the schema
#   swincms_backup    reads everything, changes nothing
#
# It connects as DATABASE_URL, POSTGRES_* or PGHOST, PGUSER … say. From the environment also:
#   DB_NAME                                                     the database          swincms
#   OWNER_ROLE, MIGRATION_ROLE, APP_ROLE, BACKUP_ROLE           other names of roles
#   MIGRATION_PASSWORD, APP_PASSWORD, BACKUP_PASSWORD, …_FILE   passwords; without one a role logs in by client certificate
set -euo pipefail
# shellcheck source=scripts/database-url.sh
. "$(dirname "${BASH_SOURCE[0]}")/database-url.sh"

grants_only=false
case "${1:-}" in
    '') ;;
    --grants) grants_only=true ;;
    -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit ;;
    *) fail "unknown argument: $1" ;;
esac

# Beside running servers nothing of it waits for long: others would queue behind it.
export PGOPTIONS="${PGOPTIONS:+$PGOPTIONS }-c lock_timeout=2s"

# The tables that the server deletes rows from, also when it anonymises somebody; scripts/check compares this with the code.
readonly DELETED_FROM="
    calendar_links
    email_changes
    event_attendees
    event_content_revisions
    event_dismissals
    event_target_intakes
    event_target_offerings
    event_target_students
    guardian_grants
    guardian_students
    idempotency_keys
    login_addresses
    mail_outbox
    notifications
    password_reset_tokens
    registrations
    scholarship_application_files
    sessions
    stored_files
    throttle_buckets
    ticket_files
    unit_anti_requisites
    unit_prerequisites
    user_roles
    webhook_outbox
    workflow_executions
    workflow_secrets
"

# The tables whose ids the server draws before it adds the row; compared as well.
readonly NUMBERED_AHEAD="
    audit_seals
    sessions
"

use_database
DB_NAME=${DB_NAME:-${PGDATABASE:-swincms}}
if [ "$DB_NAME" = postgres ] || [[ $DB_NAME == template* ]]; then fail "DB_NAME names a database of PostgreSQL's own"; fi
export DB_NAME
export OWNER_ROLE="${OWNER_ROLE:-swincms_owner}" MIGRATION_ROLE="${MIGRATION_ROLE:-swincms_migrate}"
export APP_ROLE="${APP_ROLE:-swincms}" BACKUP_ROLE="${BACKUP_ROLE:-swincms_backup}"
for name in MIGRATION_PASSWORD APP_PASSWORD BACKUP_PASSWORD; do
    value=$(setting "$name")
    export "$name=$value"
done
# One line each here, one space between there.
DELETED_FROM_LIST=$(tr -s ' \n' ' ' <<<"$DELETED_FROM")
NUMBERED_AHEAD_LIST=$(tr -s ' \n' ' ' <<<"$NUMBERED_AHEAD")
export DELETED_FROM_LIST NUMBERED_AHEAD_LIST

# psql reads the names and passwords from its environment: nothing of them is on a command line.
readonly NAMES='
\getenv database DB_NAME
\getenv owner OWNER_ROLE
\getenv migration MIGRATION_ROLE
\getenv app APP_ROLE
\getenv backup BACKUP_ROLE
\getenv migration_password MIGRATION_PASSWORD
\getenv app_password APP_PASSWORD
\getenv backup_password BACKUP_PASSWORD
\getenv deleted_from DELETED_FROM_LIST
\getenv numbered_ahead NUMBERED_AHEAD_LIST
'

make_roles() {
    PGDATABASE=postgres ask <<SQL
$NAMES
set client_min_messages = warning;
-- Passwords are not for the server's log.
set log_statement = 'none';
select format('create role %I nologin', :'owner') where not exists (select from pg_roles where rolname = :'owner') \gexec
select format('create role %I', name) from unnest(array[:'migration', :'app', :'backup']) name
 where not exists (select from pg_roles where rolname = name) \gexec
alter role :"owner" nologin nosuperuser nocreatedb nocreaterole noreplication nobypassrls;
alter role :"migration" login noinherit nosuperuser nocreatedb nocreaterole noreplication nobypassrls connection limit 5;
alter role :"app" login noinherit nosuperuser nocreatedb nocreaterole noreplication nobypassrls;
alter role :"backup" login inherit nosuperuser nocreatedb nocreaterole noreplication nobypassrls connection limit 5;
select format('alter role %I password %L', name, password)
  from (values (:'migration', :'migration_password'), (:'app', :'app_password'), (:'backup', :'backup_password')) given (name, password)
 where password <> '' \gexec
grant :"owner" to :"migration";
-- Whatever a migration makes is the owner's.
alter role :"migration" set role = :'owner';
grant pg_read_all_data to :"backup";
alter role :"backup" set default_transaction_read_only = on;
-- Nothing else of the cluster is the application's.
select format('revoke %I from %I', granted.rolname, :'app')
  from pg_auth_members m join pg_roles granted on granted.oid = m.roleid join pg_roles member on member.oid = m.member
 where member.rolname = :'app' \gexec
SQL
}

make_database() {
    PGDATABASE=postgres ask <<SQL
$NAMES
set client_min_messages = warning;
-- The maker of a database for another role must be its member.
select format('grant %I to current_user', :'owner') where not pg_has_role(current_user, :'owner', 'member') \gexec
select format('create database %I owner %I template template0 encoding ''UTF8'' locale ''C.UTF-8''', :'database', :'owner')
 where not exists (select from pg_database where datname = :'database') \gexec
alter database :"database" owner to :"owner";
revoke all on database :"database" from public, :"app", :"backup", :"migration";
grant connect on database :"database" to :"app", :"migration", :"backup";
SQL
    PGDATABASE=$DB_NAME ask <<SQL
$NAMES
set client_min_messages = warning;
alter schema public owner to :"owner";
revoke all on schema public from public, :"app";
grant usage on schema public to :"app", :"backup", :"migration";
SQL
}

# As the owner. In one transaction: there is no moment at which the server may do less than it needs.
grant_tables() {
    PGDATABASE=$DB_NAME ask --single-transaction <<SQL
$NAMES
set client_min_messages = warning;
set local role :"owner";
-- Tables of later migrations: what nearly all need, until this runs again.
alter default privileges for role :"owner" in schema public grant select, insert, update on tables to :"app";
revoke all on all tables in schema public from public, :"app";
revoke all on all sequences in schema public from public, :"app";
-- The list of migrations is read, so that \`swincms check\` can compare. What may only be added to (its trigger refuses
-- anything else) is read and added to, and the texts that anonymising blanks there are written.
with tables as (
    select c.oid, c.relname as name,
           exists (select from pg_trigger t join pg_proc p on p.oid = t.tgfoid
                    where t.tgrelid = c.oid and not t.tgisinternal
                      and t.tgtype & 1 = 1 and t.tgtype & 24 = 24
                      and p.proname in ('refuse_change', 'refuse_audit_change', 'refuse_change_but_blanks')) as only_added_to
      from pg_class c
     where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
)
select format('grant %s on table public.%I to %I',
              case when name = '_sqlx_migrations' then 'select'
                   when only_added_to then 'select, insert'
                   when name = any (string_to_array(:'deleted_from', ' ')) then 'select, insert, update, delete'
                   else 'select, insert, update' end,
              name, :'app')
  from tables \gexec
-- Views are only read.
select format('grant select on table public.%I to %I', c.relname, :'app')
  from pg_class c
 where c.relnamespace = 'public'::regnamespace and c.relkind = 'v' \gexec
select format('grant update (%s) on table public.%I to %I',
              case p.proname when 'refuse_audit_change' then 'details, salt, ip_address, user_agent, origin_salt'
                   else array_to_string(string_to_array(rtrim(encode(t.tgargs, 'escape'), '\\0'), '\\000'), ', ') end,
              t.tgrelid::regclass, :'app')
  from pg_trigger t join pg_proc p on p.oid = t.tgfoid
 where t.tgtype & 1 = 1 and t.tgtype & 24 = 24
   and (p.proname = 'refuse_change_but_blanks' or p.proname = 'refuse_audit_change' and t.tgrelid = to_regclass('audit_log')) \gexec
select format('grant usage on sequence %s to %I', pg_get_serial_sequence('public.' || quote_ident(name), 'id'), :'app')
  from unnest(string_to_array(trim(:'numbered_ahead'), ' ')) name
 where to_regclass('public.' || quote_ident(name)) is not null \gexec
SQL
}

if ! $grants_only; then
    make_roles
    make_database
    say "roles and database $DB_NAME are there"
fi
grant_tables
say "$APP_ROLE may do what the server does, and no more"
