//! Writes the report into a folder: the numbers, the page, the plots.

use std::fs;
use std::path::Path;

use tidegate_benches::matrix::page::{Picture, page};
use tidegate_benches::matrix::results::Results;
use tidegate_benches::outln;

/// Writes `results.json`, `README.md` and, with the feature `report`, the plots.
///
/// # Errors
/// If a file cannot be written.
pub fn write(results: &Results, folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    save(results, folder)?;
    let pictures = pictures(results, folder)?;
    fs::write(folder.join("README.md"), page(results, &pictures, folder.join("notes.md").exists()))?;
    outln!("\nwritten: {}", folder.join("README.md").display());
    Ok(())
}

/// Writes `results.json` alone, so a later failure does not lose the results so far.
///
/// # Errors
/// If it cannot be written.
pub fn save(results: &Results, folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    fs::create_dir_all(folder)?;
    Ok(fs::write(folder.join("results.json"), json(results)?)?)
}

/// Returns the results as JSON with each server and each run on its own line.
fn json(results: &Results) -> serde_json::Result<String> {
    let lines = |items: Vec<String>| items.join(",\n  ");
    let servers = results.servers.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
    let runs = results.runs.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
    Ok(format!(
        "{{\"conditions\": {},\n\"servers\": [\n  {}],\n\"runs\": [\n  {}]}}\n",
        serde_json::to_string_pretty(&results.conditions)?,
        lines(servers),
        lines(runs)
    ))
}

#[cfg(feature = "report")]
fn pictures(results: &Results, folder: &Path) -> Result<Vec<Picture>, Box<dyn std::error::Error>> {
    tidegate_benches::matrix::plot::write_all(results, folder)
}

#[cfg(not(feature = "report"))]
fn pictures(_: &Results, _: &Path) -> Result<Vec<Picture>, Box<dyn std::error::Error>> {
    tidegate_benches::errln!("bench: no plots: build with --features report to write them");
    Ok(Vec::new())
}
