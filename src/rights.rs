//! What the program needs of its database: its tables, and on each the rights that its statements use.
//!
//! Which tables there are says [`TABLES`]; where rows are deleted and ids drawn ahead say the lists that the grants of
//! `scripts/init-db.sh` are made of, which this reads. What may only be added to is known by its trigger, here as there. So
//! the grants and what is asked for cannot differ; a test takes back each that the script gives, and sees it missed.

use std::collections::BTreeSet;

use sqlx::PgConnection;

use crate::privacy::tables::TABLES;

/// The script that gives the rights.
const SCRIPT: &str = include_str!("../scripts/init-db.sh");

/// What the database lacks, for whoever looks after it. The words are for the log and the command line.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Lacking {
    /// Tables that are not there.
    pub tables: Vec<String>,
    /// Such as `update on units`.
    pub rights: Vec<String>,
}

impl Lacking {
    /// Whether nothing is.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.tables.is_empty() && self.rights.is_empty()
    }
}

/// The names of a list in the script, which has one on each line.
fn list(name: &str) -> Vec<String> {
    let start = format!("readonly {name}=\"\n");
    let names = SCRIPT.split_once(&start).and_then(|(_, rest)| rest.split_once("\n\"\n"));
    names.map(|(names, _)| names.split_whitespace().map(str::to_owned).collect()).unwrap_or_default()
}

/// The tables that the program deletes rows from.
#[must_use]
pub fn deleted_from() -> Vec<String> {
    list("DELETED_FROM")
}

/// What the role of this session lacks.
///
/// # Errors
/// The database's failure.
pub async fn lacking(conn: &mut PgConnection) -> sqlx::Result<Lacking> {
    let enters = sqlx::query_scalar!(r#"select has_schema_privilege('public', 'usage') as "enters!""#);
    if !enters.fetch_one(&mut *conn).await? {
        return Ok(Lacking { tables: Vec::new(), rights: vec!["usage on the schema public".to_owned()] });
    }
    // Some stand there twice.
    let names: BTreeSet<String> = TABLES.iter().map(|table| table.name.to_owned()).collect();
    let names = Vec::from_iter(names);
    let found = sqlx::query!(
        r#"with named as (
            select name, name = any($2::text[]) as deleted_from, name = any($3::text[]) as numbered_ahead
              from unnest($1::text[]) as name
         ),
         tables as (
            select n.name, n.deleted_from, n.numbered_ahead, c.oid,
                   exists (select from pg_trigger t
                             join pg_proc p on p.oid = t.tgfoid
                            where t.tgrelid = c.oid
                              and not t.tgisinternal
                              and t.tgtype & 1 = 1
                              and t.tgtype & 24 = 24
                              and p.proname in ('refuse_change', 'refuse_audit_change', 'refuse_change_but_blanks'))
                       as only_added_to
              from named n
              left join pg_class c
                on c.relname = n.name
               and c.relnamespace = 'public'::regnamespace
               and c.relkind in ('r', 'p')
         ),
         blanked as (
            select c.relname, t.tgrelid, unnest(
                       case p.proname
                           when 'refuse_audit_change' then array['details', 'salt', 'ip_address', 'user_agent', 'origin_salt']
                           else string_to_array(rtrim(encode(t.tgargs, 'escape'), '\0'), '\000')
                       end) as text
              from pg_trigger t
              join pg_proc p on p.oid = t.tgfoid
              join pg_class c on c.oid = t.tgrelid
             where c.relnamespace = 'public'::regnamespace
               and t.tgtype & 1 = 1
               and t.tgtype & 24 = 24
               and (p.proname = 'refuse_change_but_blanks'
                    or p.proname = 'refuse_audit_change' and c.relname = 'audit_log')
         )
         select true as "table!", name as "says!"
           from tables
          where oid is null
         union all
         select false, verb || ' on ' || name
           from tables
          cross join unnest(array['select', 'insert',
                                  case when not only_added_to then 'update' end,
                                  case when deleted_from then 'delete' end]) as verb
          where oid is not null
            and verb is not null
            and not has_table_privilege(oid, verb)
         union all
         select false, 'usage on the sequence of ' || name
           from tables
          where oid is not null
            and numbered_ahead
            and not has_sequence_privilege(pg_get_serial_sequence('public.' || quote_ident(name), 'id'), 'usage')
         union all
         select false, 'update of ' || text || ' on ' || relname
           from blanked
          where not has_column_privilege(tgrelid, text, 'update')
         union all
         select false, 'select on ' || c.relname
           from pg_class c
          where c.relnamespace = 'public'::regnamespace
            and (c.relkind = 'v' or c.relname = '_sqlx_migrations' and c.relkind = 'r')
            and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')
            and not has_table_privilege(c.oid, 'select')
          order by 1 desc, 2"#,
        &names,
        &deleted_from(),
        &list("NUMBERED_AHEAD")
    )
    .fetch_all(conn)
    .await?;
    let mut lacking = Lacking::default();
    for row in found {
        if row.table { lacking.tables.push(row.says) } else { lacking.rights.push(row.says) }
    }
    Ok(lacking)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_of_the_script_are_read_and_name_tables_of_ours() {
        for (name, one) in [("DELETED_FROM", "sessions"), ("NUMBERED_AHEAD", "audit_seals")] {
            let names = list(name);
            assert!(names.iter().any(|name| name == one), "{name}: {names:?}");
            for named in names {
                assert!(TABLES.iter().any(|table| table.name == named), "{name} names {named}");
            }
        }
        assert_eq!(list("NOTHING"), [""; 0]);
    }
}
