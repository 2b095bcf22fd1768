//! The matrix: servers by cases, measured in alternation, and the report.
//!
//! `case` lists the loads, `server` the programs under test, `process` starts and ends them, `measure` runs one server
//! under one load, `effort` all servers in rounds. `results` keeps every run and picks the best ones; `distance` judges
//! how far the cores were from each other in them. `aims` lists the aims. `table`, `bars`, `page` and `plot` (feature
//! `report`) only read results, so a report can be rewritten from a saved file without measuring.

pub mod aims;
pub mod bars;
pub mod case;
pub mod conditions;
pub mod distance;
pub mod effort;
pub mod measure;
pub mod page;
#[cfg(feature = "report")]
pub mod plot;
pub mod process;
pub mod results;
pub mod server;
pub mod site;
pub mod table;
