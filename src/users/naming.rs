//! How people name a student: by id, by the number on the student card, or by mail address.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer};
use sqlx::PgConnection;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::http::{Answer, Problem};
use crate::ids::Id;

/// A student as somebody names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StudentRef {
    /// A number: the id.
    Id(Id),
    /// A text: id, student number or mail address.
    Spelt(String),
}

impl<'de> Deserialize<'de> for StudentRef {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = StudentRef;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a student (id, student number or mail address)")
            }
            fn visit_i64<E: serde::de::Error>(self, id: i64) -> Result<StudentRef, E> {
                id.to_string().parse().map(StudentRef::Id).map_err(E::custom)
            }
            fn visit_u64<E: serde::de::Error>(self, id: u64) -> Result<StudentRef, E> {
                id.to_string().parse().map(StudentRef::Id).map_err(E::custom)
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<StudentRef, E> {
                Ok(StudentRef::Spelt(text.trim().to_owned()))
            }
        }
        from.deserialize_any(Any)
    }
}

impl PartialSchema for StudentRef {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String).description(Some("Student number or mail address"));
        OneOfBuilder::new().item(Id::schema()).item(text).into()
    }
}

impl ToSchema for StudentRef {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("StudentRef")
    }
}

impl StudentRef {
    /// An empty text names nobody, as null does.
    pub(crate) fn is_blank(&self) -> bool {
        matches!(self, Self::Spelt(text) if text.is_empty())
    }

    fn spelt(&self) -> String {
        match self {
            Self::Id(id) => id.to_string(),
            Self::Spelt(text) => text.clone(),
        }
    }

    /// The id, where nothing but that is taken.
    ///
    /// # Errors
    /// 400, where it is none.
    pub(crate) fn as_id(&self) -> Answer<Id> {
        match self {
            Self::Id(id) => Ok(*id),
            Self::Spelt(text) => text.parse().map_err(|says: &str| Problem::invalid("student", says)),
        }
    }

    /// The id that is named. One that is a number is not looked for: whoever asks for it finds out whether it is there.
    ///
    /// # Errors
    /// When it names nobody, or two people.
    pub(crate) async fn resolve(&self, conn: &mut PgConnection) -> Answer<Id> {
        let named = resolve_all(conn, std::slice::from_ref(self)).await?.pop();
        named.unwrap_or_else(|| Err(Problem::absent()))
    }
}

/// The same of many, in their order.
///
/// # Errors
/// The database's; of each what it is by itself.
pub(crate) async fn resolve_all(conn: &mut PgConnection, students: &[StudentRef]) -> Answer<Vec<Answer<Id>>> {
    let spelt: Vec<String> = students.iter().map(StudentRef::spelt).collect();
    let rows = sqlx::query!(
        r#"select s.nth as "nth!",
                  array_agg(named.id) as "ids!: Vec<i64>"
             from unnest($1::text[]) with ordinality as s (spelt, nth)
            cross join lateral students_named(s.spelt) as named (id)
            group by s.nth"#,
        &spelt
    )
    .fetch_all(conn)
    .await?;
    let mut found: HashMap<i64, Vec<i64>> = rows.into_iter().map(|row| (row.nth, row.ids)).collect();
    let one = |(nth, student): (i64, &StudentRef)| match (student, found.remove(&nth).unwrap_or_default().as_slice()) {
        (StudentRef::Id(id), _) => Ok(*id),
        (StudentRef::Spelt(_), [id]) => Ok(Id(*id)),
        (StudentRef::Spelt(text), []) => {
            Err(Problem::invalid("student", format!("There is no student with the number or mail address `{text}`.")))
        }
        (StudentRef::Spelt(text), _) => Err(Problem::invalid(
            "student",
            format!("`{text}` is the number of one student and the id of another; use the mail address."),
        )),
    };
    Ok((1..).zip(students).map(one).collect())
}
