//! Reading one table of the file, key by key, where nothing that is wrong stops the reading.
//!
//! A key that nobody read is unknown. Each value is read by a function of its own, whose words on failure
//! are printed with the value's line.

use std::collections::BTreeMap;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::problems::{Place, Problem};

/// What reading the file brings beside the values.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) problems: Vec<Problem>,
    /// Where each value stands, by its key: every key that there is, as `table.key`.
    pub(super) places: BTreeMap<String, Place>,
}

/// One table that is being read.
pub(super) struct Section<'t> {
    text: &'t str,
    name: &'static str,
    table: DeTable<'t>,
    known: Vec<(&'static str, Place)>,
    problems: Vec<Problem>,
}

impl<'t> Section<'t> {
    pub(super) fn root(text: &'t str, table: DeTable<'t>) -> Self {
        Self { text, name: "", table, known: Vec::new(), problems: Vec::new() }
    }

    /// Takes the table `name` out of this one; an empty one when it is not there.
    pub(super) fn table(&mut self, name: &'static str) -> Self {
        let mut table = DeTable::new();
        if let Some((place, value)) = self.take(name) {
            match value.into_inner() {
                DeValue::Table(inner) => table = inner,
                other => self.wrong(place, name, &unlike("a table", &other)),
            }
        }
        Section { text: self.text, name, table, known: Vec::new(), problems: Vec::new() }
    }

    /// Takes the list of tables `name` out of this one, each with its place; none when it is not there. `full` is the name
    /// with those of the tables around it.
    pub(super) fn tables(&mut self, name: &'static str, full: &'static str) -> Vec<(Place, Self)> {
        let Some((place, value)) = self.take(name) else {
            return Vec::new();
        };
        let DeValue::Array(elements) = value.into_inner() else {
            self.wrong(place, name, "must be a list of tables");
            return Vec::new();
        };
        let mut tables = Vec::with_capacity(elements.len());
        for element in elements {
            let place = self.line_of(&element);
            match element.into_inner() {
                DeValue::Table(table) => {
                    tables.push((
                        place,
                        Section { text: self.text, name: full, table, known: Vec::new(), problems: Vec::new() },
                    ));
                }
                other => self.wrong(place, name, &unlike("a table", &other)),
            }
        }
        tables
    }

    /// Reads `key` into `target`, which keeps its default when the key is missing or wrong.
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        target: &mut T,
        parse: impl FnOnce(&DeValue<'_>) -> Result<T, String>,
    ) {
        let Some((place, value)) = self.take(key) else {
            return;
        };
        match parse(value.get_ref()) {
            Ok(value) => *target = value,
            Err(words) => self.wrong(place, key, &words),
        }
    }

    /// As [`Section::read`], for a list; each element is judged, and wrong ones are told with their own line.
    pub(super) fn read_list<T>(
        &mut self,
        key: &'static str,
        target: &mut Vec<T>,
        parse: impl Fn(&DeValue<'_>) -> Result<T, String>,
    ) {
        let Some((place, value)) = self.take(key) else {
            return;
        };
        let DeValue::Array(elements) = value.get_ref() else {
            return self.wrong(place, key, &unlike("a list", value.get_ref()));
        };
        let mut list = Vec::with_capacity(elements.len());
        for element in elements {
            match parse(element.get_ref()) {
                Ok(value) => list.push(value),
                Err(words) => self.wrong(self.line_of(element), key, &words),
            }
        }
        if list.len() == elements.len() {
            *target = list;
        }
    }

    /// The first of these keys, all read before, that is not there.
    pub(super) fn missing(&self, keys: &[&'static str]) -> Option<&'static str> {
        let is_there = |key: &str| self.known.iter().any(|(known, place)| *known == key && *place != Place::File);
        keys.iter().copied().find(|key| !is_there(key))
    }

    /// Ends the reading: what is left in the table is unknown.
    pub(super) fn finish(mut self, findings: &mut Findings) {
        for (key, _) in std::mem::take(&mut self.table) {
            let near = self.known.iter().map(|(known, _)| (distance(known, key.get_ref()), known)).min();
            let near = near.filter(|(distance, _)| *distance <= 2);
            let hint = near.map(|(_, near)| format!(", did you mean `{near}`?")).unwrap_or_default();
            let words = format!("unknown key `{}`{hint}", self.full(key.get_ref()));
            self.problems.push(Problem::new(self.line(key.span().start), words));
        }
        findings.places.extend(self.known.iter().map(|(key, place)| (self.full(key), *place)));
        findings.problems.extend(self.problems);
    }

    fn take(&mut self, key: &'static str) -> Option<(Place, Spanned<DeValue<'t>>)> {
        let value = self.table.remove(key);
        let place = value.as_ref().map_or(Place::File, |value| self.line_of(value));
        self.known.push((key, place));
        value.map(|value| (place, value))
    }

    fn wrong(&mut self, place: Place, key: &str, words: &str) {
        let words = format!("{}: {words}", self.full(key));
        self.problems.push(Problem::new(place, words));
    }

    fn full(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    fn line_of<T>(&self, value: &Spanned<T>) -> Place {
        self.line(value.span().start)
    }

    fn line(&self, offset: usize) -> Place {
        line(self.text, offset)
    }
}

/// The line that the byte at `offset` is on.
pub(super) fn line(text: &str, offset: usize) -> Place {
    let before = text.as_bytes().iter().take(offset);
    Place::Line(1 + before.filter(|byte| **byte == b'\n').count())
}

/// Words for a value of the wrong type.
pub(super) fn unlike(wanted: &str, found: &DeValue<'_>) -> String {
    format!("must be {wanted}, not {}", kind(found))
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// How many letters must be changed, added or left out to make one word of the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    // A key may be as long as the file; nobody is helped with a guess about one like that.
    if other.len() > 64 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (index, letter) in one.chars().enumerate() {
        let mut corner = index;
        let mut left = index + 1;
        for (cell, against) in row.iter_mut().skip(1).zip(other.chars()) {
            let best = (corner + usize::from(letter != against)).min(left + 1).min(*cell + 1);
            corner = std::mem::replace(cell, best);
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = index + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_counts_letters() {
        for (one, other, apart) in
            [("ttl", "ttl", 0), ("ttl", "tll", 1), ("ttl", "ttl_max", 4), ("", "ab", 2), ("ab", "", 2)]
        {
            assert_eq!(distance(one, other), apart, "{one} {other}");
        }
    }
}
