//! What a resource says of its lists, as data: filters, orderings, search. `list` turns it into statements.

/// What can be asked of a list.
#[derive(Debug, Clone, Copy)]
pub struct Listing {
    /// Query parameters that narrow the list.
    pub filters: &'static [Filter],
    /// What `?ordering=` may name.
    pub orderings: &'static [Ordering],
    /// The ordering when none is asked, as `?ordering=` spells it; `id` breaks ties.
    pub default: &'static str,
    /// The text that `?search=` looks through.
    pub search: Option<Search>,
    /// The column behind `?updated_since=`.
    pub updated_at: Option<&'static str>,
}

/// A text to be searched: a column that `plain_text` has made of others, with a trigram index.
#[derive(Debug, Clone, Copy)]
pub enum Search {
    /// A word is found wherever it stands.
    Anywhere(&'static str),
    /// The names of people, who are many: a word of one or two letters is found where it begins one. Within words nearly all have
    /// it, or none, which no index tells.
    Names(&'static str),
}

/// A query parameter and the expression that it is compared with.
#[derive(Debug, Clone, Copy)]
pub struct Filter {
    /// The parameter.
    pub name: &'static str,
    /// SQL; in a [`Kind::Where`] the whole condition with `{}` where the value goes.
    pub sql: &'static str,
    /// What values it takes and how they are compared.
    pub kind: Kind,
}

/// What values a filter takes.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// An id, equal.
    Id,
    /// A number, equal.
    Number,
    /// Text, equal.
    Text,
    /// Text that is kept in capitals, equal whatever the case.
    Capitals,
    /// `true` or `false`, equal.
    Flag,
    /// One of these words, equal.
    OneOf(&'static [&'static str]),
    /// A moment, at or after it; a day means its beginning.
    From,
    /// A moment, before or at it; a day means its end.
    To,
    /// A day, on or after it; of a moment its day counts.
    FromDay,
    /// A day, on or before it; of a moment its day counts.
    ToDay,
    /// An IP address, equal.
    Address,
    /// An id within a condition of its own.
    Where,
    /// A year and one of these semesters, such as `2026-S2`, within a condition of its own.
    Term(&'static [&'static str]),
    /// A student by id, student number or mail address.
    Student,
}

/// What a list can be ordered by. Nulls have no place in a keyset: the expression is never null.
#[derive(Debug, Clone, Copy)]
pub struct Ordering {
    /// As `?ordering=` spells it.
    pub name: &'static str,
    /// SQL; `{caller}` in it is the caller's id, 0 for nobody.
    pub sql: &'static str,
    /// The SQL type, to which a cursor's text is cast back.
    pub sql_type: &'static str,
}

impl Filter {
    /// A filter.
    pub const fn new(name: &'static str, sql: &'static str, kind: Kind) -> Self {
        Self { name, sql, kind }
    }
}

impl Ordering {
    /// An ordering.
    pub const fn new(name: &'static str, sql: &'static str, sql_type: &'static str) -> Self {
        Self { name, sql, sql_type }
    }

    /// An ordering by what people call somebody or something: its SQL says a collation, since the database's own may sort
    /// by bytes, with `Đ` behind `Z`.
    pub const fn named(name: &'static str, sql: &'static str) -> Self {
        Self { name, sql, sql_type: "text" }
    }
}
