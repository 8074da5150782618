//! What must, and what must not, have been taken before a unit.
//!
//! Requisites change one transaction at a time (`store::hold_requisites`): two changes, each without a cycle, could
//! make one together. Two people who name each other's unit at once wait for each other's row; the database ends one
//! of the two transactions and `db::write` runs it again, which then sees what the other did.

use std::collections::{HashMap, HashSet, VecDeque};

use sqlx::PgConnection;

use super::handlers::UnitFields;
use super::store;
use crate::http::{Answer, Faults};
use crate::ids::Id;

/// The most units that one list may name.
const MOST: usize = 200;

/// Adds what is wrong with a unit's two lists.
///
/// Units that the lists named before are not looked at again: a prerequisite cannot be deleted, and a deleted
/// anti-requisite is not shown. Unless the unit itself was deleted, and is now to be restored.
pub(super) async fn check(
    tx: &mut PgConnection,
    faults: &mut Faults,
    wanted: &UnitFields,
    before: Option<(Id, &UnitFields)>,
) -> Answer<()> {
    let unit = before.map(|(id, _)| id);
    let known = match before {
        Some((id, before)) if store::is_live(tx, id).await? => Some(before),
        _ => None,
    };
    if known.is_some_and(|known| same(known, wanted)) {
        return Ok(());
    }
    store::hold_requisites(tx).await?;
    let added = |wanted: &[Id], known: Option<&Vec<Id>>| -> Vec<Id> {
        let old = |id: &Id| known.is_some_and(|known| known.contains(id)) || Some(*id) == unit;
        wanted.iter().copied().filter(|id| !old(id)).collect()
    };
    let before = added(&wanted.prerequisites, known.map(|known| &known.prerequisites));
    let beside = added(&wanted.anti_requisites, known.map(|known| &known.anti_requisites));

    for (field, ids) in [("prerequisites", &wanted.prerequisites), ("anti_requisites", &wanted.anti_requisites)] {
        faults.unless(ids.len() <= MOST, field, format!("At most {MOST} units can be named."));
        if unit.is_some_and(|unit| ids.contains(&unit)) {
            faults.add(field, format!("A unit cannot be its own requisite: {0} → {0}.", wanted.code));
        }
    }
    let named: Vec<Id> = before.iter().chain(&beside).copied().collect();
    let standing: HashSet<Id> = store::hold_live(tx, &named).await?.into_iter().collect();
    for (field, ids) in [("prerequisites", &before), ("anti_requisites", &beside)] {
        let missing: Vec<String> = ids.iter().filter(|id| !standing.contains(id)).map(Id::to_string).collect();
        faults.unless(missing.is_empty(), field, format!("There is no unit with the id {}.", missing.join(", ")));
    }
    if let Some(unit) = unit {
        let edges = store::requisites_behind(tx, unit, &before).await?;
        if let Some(way) = way_to(unit, &before, &edges) {
            let mut codes = store::codes(tx, &way).await?;
            codes.insert(unit, wanted.code.clone());
            let steps = std::iter::once(&unit).chain(&way);
            let cycle: Vec<&str> = steps.filter_map(|id| codes.get(id)).map(String::as_str).collect();
            faults.add("prerequisites", format!("These prerequisites make a cycle: {}.", cycle.join(" → ")));
        }
    }
    Ok(())
}

/// Writes both lists of a unit. Pairs that stay keep the time they were made at.
pub(super) async fn set(tx: &mut PgConnection, author: Id, unit: Id, wanted: &UnitFields) -> Answer<()> {
    store::set_prerequisites(tx, unit, &wanted.prerequisites).await?;
    let touched = store::set_anti_requisites(tx, unit, &wanted.anti_requisites).await?;
    if !touched.is_empty() {
        // The units on the other side show the change too.
        store::touch(tx, author, &touched).await?;
    }
    Ok(())
}

fn same(a: &UnitFields, b: &UnitFields) -> bool {
    let set = |ids: &[Id]| ids.iter().copied().collect::<HashSet<Id>>();
    set(&a.prerequisites) == set(&b.prerequisites) && set(&a.anti_requisites) == set(&b.anti_requisites)
}

/// The shortest way from one of `starts` to `goal`, both included, along `(unit, prerequisite)` edges.
fn way_to(goal: Id, starts: &[Id], edges: &[(Id, Id)]) -> Option<Vec<Id>> {
    let mut steps: HashMap<Id, Vec<Id>> = HashMap::new();
    for (unit, prerequisite) in edges {
        steps.entry(*unit).or_default().push(*prerequisite);
    }
    let mut came_from: HashMap<Id, Option<Id>> = starts.iter().map(|start| (*start, None)).collect();
    let mut next: VecDeque<Id> = starts.iter().copied().collect();
    while let Some(here) = next.pop_front() {
        if here == goal {
            let way = std::iter::successors(Some(here), |step| came_from.get(step).copied().flatten());
            let mut way: Vec<Id> = way.collect();
            way.reverse();
            return Some(way);
        }
        for step in steps.get(&here).into_iter().flatten() {
            if !came_from.contains_key(step) {
                came_from.insert(*step, Some(here));
                next.push_back(*step);
            }
        }
    }
    None
}
