//! `swincms import units`: the catalogue, with requisites and offerings.
//!
//! Units are known by code, without regard to case; offerings by unit, year and semester. A unit's list of
//! prerequisites replaces the one that is there. An anti-requisite goes both ways, so a pair stays as long as one of
//! its units names it; it goes when both stand in the file and neither does. Offerings that the file does not name
//! stay.
//!
//! Lock order: the right to import, the right to change requisites, units, offerings, intakes; each in the order of ids.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono_tz::Tz;
use rust_decimal::Decimal;
use serde::Deserialize;
use sqlx::PgConnection;

use super::offerings::{self, Offering, OfferingRow};
use super::report::{Change, Faults, Line, Place, Progress, Report, Tally};
use super::rows::{File, Row, decimal, given, line, line_each, lines};
use super::{store, warn_of_ignored};
use crate::cli::audit;
use crate::db::{self, Pool};
use crate::http::text::code_key;
use crate::http::{self, Answer};

/// The most units that one list of requisites may name, as in the API.
const MOST_REQUISITES: usize = 200;

/// A unit as it stands in a file. What is left out keeps what is there, and is empty for a new unit.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct UnitRow {
    #[serde(deserialize_with = "line")]
    pub(crate) code: Option<String>,
    #[serde(deserialize_with = "line")]
    pub(crate) name: Option<String>,
    #[serde(deserialize_with = "lines")]
    pub(crate) description: Option<String>,
    #[serde(deserialize_with = "decimal")]
    pub(crate) credit_points: Option<Decimal>,
    #[serde(deserialize_with = "line")]
    pub(crate) department: Option<String>,
    #[serde(deserialize_with = "line_each")]
    pub(crate) prerequisites: Option<Vec<String>>,
    #[serde(deserialize_with = "line_each")]
    pub(crate) anti_requisites: Option<Vec<String>>,
    pub(crate) offerings: Option<Vec<OfferingRow>>,
}

/// Imports a file of units.
///
/// # Errors
/// Every broken row with its fields, or the database's failure; then nothing was written.
pub(super) async fn import(
    pool: &Pool,
    file: &File,
    zone: Tz,
    progress: &Progress,
    dry_run: bool,
) -> anyhow::Result<Report> {
    let mut faults = Faults::default();
    let found = file.rows::<UnitRow>(&["code"], zone, &mut faults)?;
    warn_of_ignored(&found.ignored);
    let (rows, unread, unfit) = (&found.read, &found.unread, faults);
    let refused = !unfit.is_empty();
    let done = db::write(pool, |tx, _| {
        Box::pin(async move {
            let report = match apply(tx, rows, unread, progress, dry_run || refused).await? {
                Ok(report) => report,
                Err(faults) => return Ok(Err(faults)),
            };
            if !(dry_run || refused) {
                audit::note(tx, "import", "unit", None, &report.details(&file.name)).await?;
            }
            Ok(Ok(report))
        })
    });
    match done.await? {
        Ok(report) if !refused => Ok(report),
        done => {
            let mut faults = unfit;
            faults.extend(done.err().unwrap_or_default());
            Err(faults.into_error(found.count))
        }
    }
}

/// Where a unit stands in the graph of requisites: one that is there by its id, a new one by its place in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Node {
    There(i64),
    New(usize),
}

/// A row that breaks no rule by itself.
struct Unit<'r> {
    place: &'r Place,
    node: Node,
    code: &'r str,
    row: &'r UnitRow,
    prerequisites: Option<BTreeSet<Node>>,
    anti_requisites: Option<BTreeSet<Node>>,
    offerings: Vec<Offering>,
}

/// Checks all rows against each other and against what is there, and unless `only_check` writes them.
///
/// `unread` are the codes of rows that could not be read. The inner error is everything that is wrong; then nothing
/// was written.
pub(crate) async fn apply(
    tx: &mut PgConnection,
    rows: &[Row<UnitRow>],
    unread: &HashSet<String>,
    progress: &Progress,
    only_check: bool,
) -> Answer<Result<Report, Faults>> {
    progress.begin("checking", rows.len());
    store::one_at_a_time(tx).await?;
    store::units::hold_requisites(tx).await?;
    let known = store::units::hold_named(tx, &codes_in(rows)).await?;
    let known: HashMap<String, store::units::Known> =
        known.into_iter().map(|unit| (code_key(&unit.code), unit)).collect();
    let ids: Vec<i64> = known.values().map(|unit| unit.id).collect();
    let there = store::offerings::hold_of_units(tx, &ids).await?;
    let there: HashMap<(i64, i32, String), store::offerings::Known> =
        there.into_iter().map(|o| ((o.unit_id, o.year, o.semester.clone()), o)).collect();
    let edges = store::units::prerequisites(tx).await?;
    let pairs = store::units::anti_requisites(tx, &ids).await?;

    let mut faults = Faults::default();
    let units = checked(rows, &known, unread, &mut faults);
    refuse_cycles(&units, &edges, &mut faults);
    for unit in &units {
        refuse_small_rooms(unit, &there, &mut faults);
    }
    if !faults.is_empty() {
        return Ok(Err(faults));
    }
    let plan = Plan::of(&units, &known, &there, &edges, &pairs);
    if !only_check {
        plan.write(tx, &units, progress).await?;
    }
    Ok(Ok(Report { row_is: "unit", part_is: "offering", lines: plan.lines }))
}

/// All codes that a file names.
fn codes_in(rows: &[Row<UnitRow>]) -> Vec<String> {
    let named = |row: &UnitRow| {
        let lists = [row.prerequisites.clone(), row.anti_requisites.clone()].into_iter().flatten().flatten();
        lists.chain(row.code.clone()).collect::<Vec<_>>()
    };
    let codes: BTreeSet<String> =
        rows.iter().flat_map(|row| named(&row.value)).map(|code| code.trim().to_owned()).collect();
    codes.into_iter().collect()
}

/// The rows that break no rule by themselves, with their requisites found.
fn checked<'r>(
    rows: &'r [Row<UnitRow>],
    known: &HashMap<String, store::units::Known>,
    unread: &HashSet<String>,
    faults: &mut Faults,
) -> Vec<Unit<'r>> {
    let mut nodes: HashMap<String, Node> =
        known.iter().map(|(key, unit)| (key.clone(), Node::There(unit.id))).collect();
    let mut first_row: HashMap<String, usize> = HashMap::new();
    for row in rows {
        let Some(code) = given(row.value.code.as_deref()) else { continue };
        nodes.entry(code_key(code)).or_insert(Node::New(row.place.number));
        let first = *first_row.entry(code_key(code)).or_insert(row.place.number);
        if first != row.place.number {
            faults.add(&row.place, "code", format!("{code} stands in row {first} already."));
        }
    }
    let mut units = Vec::with_capacity(rows.len());
    for Row { place, value: row } in rows {
        let mut found = http::Faults::default();
        let code = given(row.code.as_deref()).unwrap_or_default();
        let is_new = !known.contains_key(&code_key(code));
        found.name("code", code, 32);
        match &row.name {
            Some(name) => found.name("name", name, 255),
            None => found.unless(!is_new, "name", "This field is required for a new unit."),
        }
        found.text("description", row.description.as_deref().unwrap_or_default(), 20_000);
        found.text("department", row.department.as_deref().unwrap_or_default(), 255);
        if let Some(points) = row.credit_points {
            found.decimal("credit_points", points, 1, Decimal::ZERO..=Decimal::new(99_999, 1));
        }
        faults.merge(place, "", found);
        let mut requisites = |field: &str, list: Option<&Vec<String>>| {
            list.map(|list| requisites_of(place, code, field, list, &nodes, unread, faults))
        };
        let prerequisites = requisites("prerequisites", row.prerequisites.as_ref());
        let anti_requisites = requisites("anti_requisites", row.anti_requisites.as_ref());
        let offerings = offerings::checked(place, row.offerings.as_deref().unwrap_or_default(), faults);
        if let Some(node) = nodes.get(&code_key(code)) {
            units.push(Unit { place, node: *node, code, row, prerequisites, anti_requisites, offerings });
        }
    }
    units
}

fn requisites_of(
    place: &Place,
    code: &str,
    field: &str,
    list: &[String],
    nodes: &HashMap<String, Node>,
    unread: &HashSet<String>,
    faults: &mut Faults,
) -> BTreeSet<Node> {
    if list.len() > MOST_REQUISITES {
        faults.add(place, field, format!("At most {MOST_REQUISITES} units can be named."));
    }
    let mut found = BTreeSet::new();
    for (index, named) in list.iter().enumerate() {
        let key = code_key(named);
        if key == code_key(code) {
            faults.add(
                place,
                format!("{field}[{index}]"),
                format!("A unit cannot be its own requisite: {code} → {code}."),
            );
        } else if let Some(node) = nodes.get(&key) {
            found.insert(*node);
        } else if !unread.contains(&key) {
            let says = format!("There is no unit `{}`, neither in the file nor in the database.", named.trim());
            faults.add(place, format!("{field}[{index}]"), says);
        }
    }
    found
}

/// Adds a fault for every cycle of prerequisites that the file would close, and names the units along it.
fn refuse_cycles(units: &[Unit], edges: &[store::units::Edge], faults: &mut Faults) {
    let mut needs: HashMap<Node, Vec<Node>> = HashMap::new();
    let mut codes: HashMap<Node, &str> = HashMap::new();
    for edge in edges {
        needs.entry(Node::There(edge.unit_id)).or_default().push(Node::There(edge.prerequisite_id));
        codes.insert(Node::There(edge.unit_id), &edge.unit_code);
        codes.insert(Node::There(edge.prerequisite_id), &edge.prerequisite_code);
    }
    let mut places: HashMap<Node, &Place> = HashMap::new();
    for unit in units {
        codes.insert(unit.node, unit.code);
        places.insert(unit.node, unit.place);
        if let Some(prerequisites) = &unit.prerequisites {
            needs.insert(unit.node, prerequisites.iter().copied().collect());
        }
    }
    for cycle in cycles(units.iter().map(|unit| unit.node), &needs) {
        let Some(place) = cycle.iter().filter_map(|node| places.get(node)).min_by_key(|place| place.number) else {
            continue;
        };
        let start = cycle.iter().position(|node| places.get(node).is_some_and(|p| p.number == place.number));
        let round = cycle.iter().cycle().skip(start.unwrap_or(0)).take(cycle.len() + 1);
        let names: Vec<&str> = round.map(|node| codes.get(node).copied().unwrap_or("?")).collect();
        faults.add(place, "prerequisites", format!("These prerequisites make a cycle: {}.", names.join(" → ")));
    }
}

/// The cycles that a walk from `starts` comes upon; none exactly when there is none. A chain may have any length, so
/// the walk keeps its way itself instead of on the stack.
fn cycles(starts: impl Iterator<Item = Node>, needs: &HashMap<Node, Vec<Node>>) -> Vec<Vec<Node>> {
    let none = Vec::new();
    let behind = |node: Node| needs.get(&node).unwrap_or(&none).iter();
    let (mut found, mut done) = (Vec::new(), HashSet::new());
    for start in starts {
        if done.contains(&start) {
            continue;
        }
        let mut way = vec![start];
        let mut on_way = HashSet::from([start]);
        let mut next = vec![behind(start)];
        while let Some(steps) = next.last_mut() {
            match steps.next() {
                Some(step) if on_way.contains(step) => {
                    found.push(way.iter().copied().skip_while(|node| node != step).collect());
                }
                Some(step) if !done.contains(step) => {
                    way.push(*step);
                    on_way.insert(*step);
                    next.push(behind(*step));
                }
                Some(_) => {}
                None => {
                    next.pop();
                    if let Some(node) = way.pop() {
                        on_way.remove(&node);
                        done.insert(node);
                    }
                }
            }
        }
    }
    found
}

/// Adds a fault for every capacity below the seats that are taken.
fn refuse_small_rooms(unit: &Unit, there: &HashMap<(i64, i32, String), store::offerings::Known>, faults: &mut Faults) {
    let Node::There(id) = unit.node else { return };
    for offering in &unit.offerings {
        let Some(capacity) = offering.capacity.filter(|capacity| *capacity > 0) else { continue };
        let now = there.get(&(id, offering.year, offering.semester.to_owned()));
        if let Some(now) = now.filter(|now| now.current_enrollment > capacity) {
            let says = format!("{} seats are taken already.", now.current_enrollment);
            faults.add(unit.place, format!("{}.capacity", offering.field), says);
        }
    }
}

/// What is to be written.
struct Plan<'r> {
    lines: Vec<Line>,
    new: Vec<(&'r Unit<'r>, store::units::Wanted<'r>)>,
    changed: Vec<(i64, store::units::Wanted<'r>)>,
    /// Units in which only requisites change.
    touched: Vec<i64>,
    prerequisites: Vec<(Node, Node)>,
    prerequisites_gone: Vec<(i64, i64)>,
    anti_requisites: BTreeSet<(Node, Node)>,
    anti_requisites_gone: Vec<(i64, i64)>,
    offerings: Vec<(Node, &'r Offering)>,
    offerings_changed: Vec<store::offerings::Changed>,
}

impl<'r> Plan<'r> {
    fn of(
        units: &'r [Unit<'r>],
        known: &'r HashMap<String, store::units::Known>,
        there: &HashMap<(i64, i32, String), store::offerings::Known>,
        edges: &[store::units::Edge],
        pairs: &[(i64, i64)],
    ) -> Self {
        let mut plan = Self {
            lines: Vec::with_capacity(units.len()),
            new: Vec::new(),
            changed: Vec::new(),
            touched: Vec::new(),
            prerequisites: Vec::new(),
            prerequisites_gone: Vec::new(),
            anti_requisites: BTreeSet::new(),
            anti_requisites_gone: Vec::new(),
            offerings: Vec::new(),
            offerings_changed: Vec::new(),
        };
        let mut needed: HashMap<i64, BTreeSet<Node>> = HashMap::new();
        for edge in edges {
            needed.entry(edge.unit_id).or_default().insert(Node::There(edge.prerequisite_id));
        }
        let beside = plan.set_anti_requisites(units, pairs);
        for unit in units {
            let mut change = plan.set_unit(unit, known);
            let before = match unit.node {
                Node::There(id) => needed.remove(&id).unwrap_or_default(),
                Node::New(_) => BTreeSet::new(),
            };
            let wanted = unit.prerequisites.as_ref().unwrap_or(&before);
            plan.prerequisites.extend(wanted.difference(&before).map(|node| (unit.node, *node)));
            for node in before.difference(wanted) {
                if let (Node::There(unit), Node::There(prerequisite)) = (unit.node, node) {
                    plan.prerequisites_gone.push((unit, *prerequisite));
                }
            }
            if change == Change::Unchanged && (*wanted != before || beside.contains(&unit.node)) {
                change = Change::Updated;
                if let Node::There(id) = unit.node {
                    plan.touched.push(id);
                }
            }
            let mut parts = Tally::default();
            for offering in &unit.offerings {
                parts += plan.set_offering(unit.node, offering, there);
            }
            plan.lines.push(Line { place: unit.place.clone(), change, parts });
        }
        plan
    }

    fn set_unit(&mut self, unit: &'r Unit<'r>, known: &'r HashMap<String, store::units::Known>) -> Change {
        let row = unit.row;
        let now = known.get(&code_key(unit.code));
        let text = |sent: Option<&'r String>, now: Option<&'r String>| {
            sent.map(|text| text.trim()).or(now.map(String::as_str)).unwrap_or_default()
        };
        let wanted = store::units::Wanted {
            code: now.map_or(unit.code, |now| &now.code),
            name: text(row.name.as_ref(), now.map(|now| &now.name)),
            description: text(row.description.as_ref(), now.map(|now| &now.description)),
            credit_points: row.credit_points.or(now.map(|now| now.credit_points)).unwrap_or(Decimal::new(125, 1)),
            department: text(row.department.as_ref(), now.map(|now| &now.department)),
        };
        match now {
            None => {
                self.new.push((unit, wanted));
                Change::Created
            }
            Some(now) if wanted.is(now) => Change::Unchanged,
            Some(now) => {
                self.changed.push((now.id, wanted));
                Change::Updated
            }
        }
    }

    /// Returns the units whose pairs change.
    fn set_anti_requisites(&mut self, units: &[Unit], pairs: &[(i64, i64)]) -> HashSet<Node> {
        let ordered = |a: Node, b: Node| if a < b { (a, b) } else { (b, a) };
        let there: BTreeSet<(Node, Node)> =
            pairs.iter().map(|(lower, upper)| (Node::There(*lower), Node::There(*upper))).collect();
        let mut named = BTreeSet::new();
        let mut speaking = HashSet::new();
        for unit in units {
            if let Some(others) = &unit.anti_requisites {
                speaking.insert(unit.node);
                named.extend(others.iter().map(|other| ordered(unit.node, *other)));
            }
        }
        let gone: Vec<(Node, Node)> = there
            .difference(&named)
            .filter(|(lower, upper)| speaking.contains(lower) && speaking.contains(upper))
            .copied()
            .collect();
        self.anti_requisites = named.difference(&there).copied().collect();
        for pair in &gone {
            if let (Node::There(lower), Node::There(upper)) = pair {
                self.anti_requisites_gone.push((*lower, *upper));
            }
        }
        gone.iter().chain(&self.anti_requisites).flat_map(|(a, b)| [*a, *b]).collect()
    }

    fn set_offering(
        &mut self,
        unit: Node,
        offering: &'r Offering,
        there: &HashMap<(i64, i32, String), store::offerings::Known>,
    ) -> Change {
        let now = match unit {
            Node::There(id) => there.get(&(id, offering.year, offering.semester.to_owned())),
            Node::New(_) => None,
        };
        let Some(now) = now else {
            self.offerings.push((unit, offering));
            return Change::Created;
        };
        let wanted = store::offerings::Changed {
            id: now.id,
            enrollment_start: offering.enrollment_start,
            enrollment_end: offering.enrollment_end,
            capacity: offering.capacity.unwrap_or(now.capacity),
            notes: offering.notes(&now.notes),
        };
        if wanted.is(now) {
            return Change::Unchanged;
        }
        self.offerings_changed.push(wanted);
        Change::Updated
    }

    async fn write(&self, tx: &mut PgConnection, units: &[Unit<'_>], progress: &Progress) -> sqlx::Result<()> {
        let steps = self.new.len() + self.changed.len() + self.offerings.len() + self.offerings_changed.len();
        progress.begin("writing", steps);
        let new: Vec<&store::units::Wanted> = self.new.iter().map(|(_, wanted)| wanted).collect();
        let made = store::units::add(tx, &new, progress).await?;
        let mut ids: HashMap<Node, i64> = HashMap::new();
        for (unit, _) in &self.new {
            if let Some(id) = made.get(unit.code) {
                ids.insert(unit.node, *id);
            }
        }
        let id = |node: &Node| match node {
            Node::There(id) => Some(*id),
            new @ Node::New(_) => ids.get(new).copied(),
        };
        let pair = |(a, b): &(Node, Node)| Some((id(a)?, id(b)?));
        store::units::change(tx, &self.changed, progress).await?;
        // The other side of a pair may stand outside of the file, and shows the change too.
        let in_file: HashSet<Node> = units.iter().map(|unit| unit.node).collect();
        let outside = self.anti_requisites.iter().flat_map(|(a, b)| [a, b]).filter(|node| !in_file.contains(node));
        let touched: Vec<i64> = self.touched.iter().copied().chain(outside.filter_map(id)).collect();
        store::units::touch(tx, &touched).await?;
        store::units::remove_prerequisites(tx, &self.prerequisites_gone).await?;
        store::units::add_prerequisites(tx, &self.prerequisites.iter().filter_map(pair).collect::<Vec<_>>()).await?;
        store::units::remove_anti_requisites(tx, &self.anti_requisites_gone).await?;
        store::units::add_anti_requisites(tx, &self.anti_requisites.iter().filter_map(pair).collect::<Vec<_>>())
            .await?;
        let offerings: Vec<store::offerings::New> = self
            .offerings
            .iter()
            .filter_map(|(unit, offering)| {
                Some(store::offerings::New {
                    unit_id: id(unit)?,
                    year: offering.year,
                    semester: offering.semester,
                    enrollment_start: offering.enrollment_start,
                    enrollment_end: offering.enrollment_end,
                    capacity: offering.capacity.unwrap_or(0),
                    notes: offering.notes(""),
                })
            })
            .collect();
        store::offerings::add(tx, &offerings, progress).await?;
        store::offerings::change(tx, &self.offerings_changed, progress).await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{Node, cycles};

    fn found(edges: &[(usize, usize)]) -> Vec<Vec<Node>> {
        let mut needs: HashMap<Node, Vec<Node>> = HashMap::new();
        for (from, to) in edges {
            needs.entry(Node::New(*from)).or_default().push(Node::New(*to));
        }
        cycles((0..6).map(Node::New), &needs)
    }

    #[test]
    fn a_cycle_is_found_wherever_the_walk_begins() {
        let nodes = |numbers: &[usize]| numbers.iter().copied().map(Node::New).collect::<Vec<_>>();
        assert_eq!(found(&[(0, 1), (1, 2), (2, 1), (4, 5), (5, 4)]), [nodes(&[1, 2]), nodes(&[4, 5])]);
        assert!(found(&[(0, 1), (0, 2), (1, 3), (2, 3), (3, 4), (0, 4)]).is_empty());
    }

    #[test]
    fn a_chain_may_be_longer_than_the_stack_is_deep() {
        let edges: Vec<_> = (0..200_000).map(|unit| (unit, unit + 1)).collect();
        assert!(found(&edges).is_empty());
    }
}
