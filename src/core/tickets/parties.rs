//! Whom a ticket concerns, and so whom a permission lets at it.

use sqlx::{FromRow, Postgres, QueryBuilder};

use crate::access::{Permission, Reach, Viewer};
use crate::ids::Id;

/// The people of a ticket, as [`parties`] reads them.
#[derive(Debug, Clone, FromRow)]
pub(in crate::core) struct Parties {
    /// Who submitted it.
    pub(in crate::core) submitter: Id,
    /// Who looks after it.
    pub(in crate::core) assigned_to: Option<Id>,
    /// Who convenes the unit or the offering that it is about.
    pub(super) convenors: Vec<Id>,
}

/// The columns of [`Parties`] for the ticket `t`; for `concat!`.
macro_rules! parties {
    () => {
        "t.submitter_id as submitter,
       t.assigned_to_id as assigned_to,
       array(select u.convenor_id
               from units u
              where u.id = t.related_unit_id
                and u.convenor_id is not null
              union
             select o.convenor_id
               from offerings o
              where o.id = t.related_offering_id
                and o.convenor_id is not null) as convenors"
    };
}
pub(in crate::core) use parties;

impl Parties {
    /// Whether the viewer's permission reaches this ticket; [`push_within`] says the same in SQL.
    pub(in crate::core) fn within(&self, viewer: &Viewer, permission: Permission) -> bool {
        let reach = viewer.reach(permission);
        let Some(caller) = viewer.caller_id() else { return false };
        let own = self.submitter == caller || self.assigned_to == Some(caller);
        reach.is_all()
            || (reach.covers(Reach::OWN) && own)
            || (reach.covers(Reach::OWN_UNITS) && self.convenors.contains(&caller))
    }

    /// Whether the viewer submitted it.
    pub(in crate::core) fn is_submitter(&self, viewer: &Viewer) -> bool {
        viewer.caller_id() == Some(self.submitter)
    }

    /// Whether the viewer writes internal notes on it.
    pub(in crate::core) fn takes_notes_of(&self, viewer: &Viewer) -> bool {
        self.within(viewer, Permission::ManageTickets) && !self.is_submitter(viewer)
    }
}

/// Adds the condition that the viewer's permission reaches the ticket `t`.
pub(in crate::core) fn push_within(sql: &mut QueryBuilder<Postgres>, viewer: &Viewer, permission: Permission) {
    let reach = viewer.reach(permission);
    if reach.is_all() {
        sql.push("true");
        return;
    }
    sql.push("(false");
    if reach.covers(Reach::OWN) {
        sql.push(" or t.submitter_id = ").push_bind(viewer.caller_id());
        sql.push(" or t.assigned_to_id = ").push_bind(viewer.caller_id());
    }
    if reach.covers(Reach::OWN_UNITS) {
        // An array is computed once, so that the indexes by unit and by offering serve.
        sql.push(" or t.related_unit_id = any(array(select id from units where convenor_id = ");
        sql.push_bind(viewer.caller_id()).push("))");
        sql.push(" or t.related_offering_id = any(array(select x.id from offerings x");
        sql.push(" where x.convenor_id = ").push_bind(viewer.caller_id()).push("))");
    }
    sql.push(")");
}
