//! The differences that `docs/conformance.md` lists: rows of `kinds | Tidegate | nginx | hyper | judgement`.
//!
//! The kinds of one row stand in backticks. The judgement names the section of an RFC.

use std::collections::BTreeSet;
use std::fmt;

/// The header of a table that lists differences.
const HEADER: [&str; 5] = ["Requests", "Tidegate", "nginx", "hyper", "Judgement"];

/// One kind of requests, and the outcome for each server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    pub kind: String,
    pub tidegate: String,
    pub nginx: String,
    pub hyper: String,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| `{}` | {} | {} | {} |", self.kind, self.tidegate, self.nginx, self.hyper)
    }
}

/// The rows of the document.
pub struct Listing {
    rows: BTreeSet<Row>,
    /// Rows that say too little.
    pub complaints: Vec<String>,
}

impl Listing {
    pub fn read(document: &str) -> Self {
        let mut listing = Self { rows: BTreeSet::new(), complaints: Vec::new() };
        let mut in_table = false;
        for line in document.lines() {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            let ["", cells @ .., ""] = cells.as_slice() else {
                in_table = false;
                continue;
            };
            if cells == HEADER {
                in_table = true;
            } else if in_table && !line.starts_with("|--") {
                listing.read_row(line, cells);
            }
        }
        listing
    }

    fn read_row(&mut self, line: &str, cells: &[&str]) {
        let &[kinds, tidegate, nginx, hyper, judgement] = cells else {
            self.complaints.push(format!("not five cells: {line}"));
            return;
        };
        if !judgement.contains("RFC ") {
            self.complaints.push(format!("no RFC in the judgement: {line}"));
        }
        for kind in kinds.split('`').skip(1).step_by(2) {
            let [tidegate, nginx, hyper] = [tidegate, nginx, hyper].map(str::to_owned);
            let row = Row { kind: kind.to_owned(), tidegate, nginx, hyper };
            if self.has(&row) {
                self.complaints.push(format!("listed twice: {row}"));
            }
            self.rows.insert(row);
        }
    }

    pub fn has(&self, row: &Row) -> bool {
        self.rows.contains(row)
    }

    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter()
    }
}

#[test]
fn rows_are_read_from_tables_of_differences_only() {
    let document = "| Requests | Tidegate | nginx | hyper | Judgement |\n|---|---|---|---|---|\n\
        | `a`, `b` | 400 | accepted | 400 | RFC 1 |\n| `c` | 400 | 400 | 404 | none |\n\n| `d` | 1 | 2 | 3 | RFC 1 |\n";
    let listing = Listing::read(document);
    let kinds: Vec<_> = listing.rows().map(|row| row.kind.as_str()).collect();
    assert_eq!(kinds, ["a", "b", "c"]);
    assert_eq!(listing.complaints.len(), 1, "{:?}", listing.complaints);
}
