//! What every endpoint shares: the route table, bodies, lists, answers, problems, conditions and repeats.

mod answer;
mod body;
mod csv;
mod describe;
mod disposition;
mod dry_run;
mod judge;
mod list;
mod listing;
mod numbers;
pub mod openapi;
mod origin;
mod own_task;
mod page;
mod problem;
mod read;
mod repeat;
mod routes;
mod schemas;
pub mod sheet;
mod tags;
pub mod text;
mod unread;
mod verbs;

pub(crate) use answer::etag;
pub use answer::{Accepted, Created, Done, IfMatch, Kept, NoContent, NowOrLater, Shown, not_modified};
pub use body::{Bare, Changes, FromWorkflow, Json, Optional, PathId, Posted, Replacement, item_of, typed, typed_part};
pub(crate) use body::{path_text, too_large};
pub use csv::{AskedAs, Cell, Csv, Format, OrCsv};
pub use describe::{Answers, Describe, Notes, Schemas, schema_of};
pub use disposition::name_file;
pub use dry_run::{DryRun, Reason, Trial, Tried};
pub(crate) use list::flag;
pub use list::{Asked, Cursors, Listed, query_pairs};
pub use listing::{Filter, Kind, Listing, Ordering, Search};
pub use origin::{Origin, identify, refuse_foreign_hosts};
pub use own_task::own_task;
pub use page::Page;
pub use problem::{Answer, Faults, Problem, Refusal, render};
pub(crate) use read::said_in_words;
pub use repeat::Repeat;
pub use routes::{Cost, Route, Routes, nothing_here, wrong_method};
pub(crate) use unread::{left_unread, never as never_read, refuse_if_strict};
pub use verbs::{
    Audited, Resource, Sight, Target, Writable, change, create, find, insert, list, remove, replace, restore, show,
};
pub(crate) use verbs::{lock, locked, place_file, set_deleted, update};
