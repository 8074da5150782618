//! What a schema asks for, surveyed before it is compiled: where its references lead, how many steps it takes to check
//! one value, how many patterns it has.
//!
//! A few lines can ask for a great deal: ten definitions that each refer twice to the next make a thousand checks, and
//! a reference in a circle never ends. So references are followed here, and what they come to is counted.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value};

/// How deeply a schema may be nested, also through its references.
const DEEPEST: usize = 64;
/// How many steps the check of one value may take.
const MOST_STEPS: u64 = 5_000;
/// How many parts a schema may come to when every reference is replaced by what it leads to.
const MOST_PARTS: u64 = 20_000;
/// How many names or options are looked through in the time of a step.
const NAMES_IN_A_STEP: usize = 8;
/// How many patterns a schema may have.
const MOST_PATTERNS: usize = 200;
/// How many faults are told.
const MOST_FAULTS: usize = 20;

/// Keywords that hold a schema.
const ONE: &[&str] = &[
    "additionalItems",
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];
/// Keywords that hold a list of schemas.
const LISTS: &[&str] = &["allOf", "anyOf", "items", "oneOf", "prefixItems"];
/// Keywords that hold schemas by name.
const NAMED: &[&str] = &["$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties"];
/// Keywords whose schemas may be tried once to see whether they hold and once more to tell why they do not.
const TRIED_TWICE: &[&str] = &["anyOf", "contains", "if", "not", "oneOf", "unevaluatedItems", "unevaluatedProperties"];
/// Keywords that give a part of a schema another address or dialect; a reference would then lead elsewhere than it says.
const ELSEWHERE: &[&str] =
    &["$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveAnchor", "$recursiveRef", "$vocabulary"];

/// What is wrong with a schema, and what it costs to check a value by it.
pub(super) struct Survey<'a> {
    whole: &'a Value,
    /// What references lead to: none while it is being surveyed.
    targets: HashMap<String, Option<Size>>,
    patterns: usize,
    faults: BTreeSet<String>,
}

/// What a part of a schema comes to.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    /// The checks of one value. Of fields that have a name each value is but one, so the dearest counts.
    steps: u64,
    /// The parts of the schema.
    parts: u64,
    height: usize,
}

impl Size {
    /// A keyword that looks through this many names or options.
    fn looking_through(many: usize) -> Self {
        Self { steps: 1 + u64::try_from(many / NAMES_IN_A_STEP).unwrap_or(u64::MAX / 2), parts: 1, height: 0 }
    }

    /// Both apply to one value.
    fn and(self, other: Self) -> Self {
        Self { steps: self.steps.saturating_add(other.steps), ..self.beside(other) }
    }

    /// Each applies to another value.
    fn beside(self, other: Self) -> Self {
        Self {
            steps: self.steps.max(other.steps),
            parts: self.parts.saturating_add(other.parts),
            height: self.height.max(other.height),
        }
    }
}

impl<'a> Survey<'a> {
    /// The steps that the check of one value takes.
    ///
    /// # Errors
    /// What is wrong with the schema.
    pub(super) fn of(whole: &'a Value) -> Result<u64, Vec<String>> {
        let mut survey = Self { whole, targets: HashMap::new(), patterns: 0, faults: BTreeSet::new() };
        let size = survey.target("#", 0);
        if survey.patterns > MOST_PATTERNS {
            survey.add(format!("Ensure it has no more than {MOST_PATTERNS} patterns."));
        }
        if size.steps > MOST_STEPS {
            survey.add(format!(
                "It asks for more than {MOST_STEPS} checks of one value when its references are followed."
            ));
        }
        if size.parts > MOST_PARTS {
            survey.add(format!("It comes to more than {MOST_PARTS} parts when its references are followed."));
        }
        if survey.faults.is_empty() { Ok(size.steps) } else { Err(survey.faults.into_iter().collect()) }
    }

    fn add(&mut self, says: String) {
        if self.faults.len() < MOST_FAULTS {
            self.faults.insert(says);
        }
    }

    /// What a reference leads to.
    fn target(&mut self, reference: &str, level: usize) -> Size {
        match self.targets.get(reference).copied() {
            Some(Some(size)) => {
                if level + size.height > DEEPEST {
                    self.too_deep();
                }
                return size;
            }
            Some(None) => {
                self.add(format!("The reference `{reference}` leads in a circle."));
                return Size::default();
            }
            None => {}
        }
        let pointer = reference.strip_prefix('#').unwrap_or(reference);
        let Some(there) = self.whole.pointer(pointer) else {
            self.add(format!("The reference `{reference}` leads to nothing."));
            return Size::default();
        };
        self.targets.insert(reference.to_owned(), None);
        let size = self.size(there, reference, level);
        self.targets.insert(reference.to_owned(), Some(size));
        size
    }

    fn too_deep(&mut self) {
        self.add(format!("Ensure it is nested no deeper than {DEEPEST} levels, its references followed."));
    }

    /// What the schema at this place comes to.
    fn size(&mut self, schema: &'a Value, place: &str, level: usize) -> Size {
        if level > DEEPEST {
            self.too_deep();
            return Size::default();
        }
        // What is neither is told by the meta-schema.
        let Value::Object(members) = schema else { return Size { steps: 1, parts: 1, height: 1 } };
        self.refuse_other_addresses(members, place);
        let mut size = Size::looking_through(0);
        for (keyword, value) in members {
            let under = format!("{place}/{}", escaped(keyword));
            let part = self.keyword(keyword, value, &under, level + 1);
            size = size.and(part);
            if TRIED_TWICE.contains(&keyword.as_str()) {
                size.steps = size.steps.saturating_add(part.steps);
            }
        }
        Size { height: size.height + 1, ..size }
    }

    fn keyword(&mut self, keyword: &str, value: &'a Value, place: &str, level: usize) -> Size {
        match value {
            Value::String(reference) if keyword == "$ref" => {
                if !reference.starts_with('#') {
                    self.add(format!(
                        "{place}: only references within the schema are allowed, such as `#/$defs/name`."
                    ));
                } else if reference.contains('%') || !(reference == "#" || reference.starts_with("#/")) {
                    self.add(format!("{place}: write the reference as a plain JSON pointer, such as `#/$defs/name`."));
                } else {
                    return self.target(reference, level);
                }
                Size::default()
            }
            Value::String(_) if keyword == "pattern" => {
                self.patterns += 1;
                Size::looking_through(0)
            }
            Value::Array(names) if keyword == "enum" || keyword == "required" => Size::looking_through(names.len()),
            Value::Array(parts) if LISTS.contains(&keyword) => {
                let parts = parts.iter().enumerate().map(|(nth, part)| (nth.to_string(), part));
                let together = if keyword == "items" || keyword == "prefixItems" { Size::beside } else { Size::and };
                self.sum(parts, place, level, together)
            }
            Value::Object(parts) if NAMED.contains(&keyword) => {
                if keyword == "patternProperties" {
                    self.patterns += parts.len();
                }
                let apart = ["$defs", "definitions", "properties"].contains(&keyword);
                let together = if apart { Size::beside } else { Size::and };
                let looked = Size::looking_through(parts.len());
                self.sum(parts.iter().map(|(name, part)| (escaped(name), part)), place, level, together).and(looked)
            }
            schema if ONE.contains(&keyword) => self.size(schema, place, level),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                Size::looking_through(0)
            }
        }
    }

    fn sum(
        &mut self,
        parts: impl Iterator<Item = (String, &'a Value)>,
        place: &str,
        level: usize,
        together: fn(Size, Size) -> Size,
    ) -> Size {
        parts.fold(Size::default(), |sum, (name, part)| {
            together(sum, self.size(part, &format!("{place}/{name}"), level))
        })
    }

    fn refuse_other_addresses(&mut self, members: &Map<String, Value>, place: &str) {
        let named = members.iter().filter(|(keyword, value)| {
            let keyword = keyword.as_str();
            ELSEWHERE.contains(&keyword)
                || (place != "#" && value.is_string() && ["$id", "$schema", "id"].contains(&keyword))
        });
        for (keyword, _) in named {
            self.add(format!("{place}/{keyword}: this keyword is not supported here."));
        }
    }
}

/// A name as a step of a JSON pointer.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
