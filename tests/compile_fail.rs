//! The compile errors of the commonest mistakes with handlers: each mistake must give one error, which says what to
//! write and names only paths that a user can write.
//!
//! The texts are rustc's and differ between its versions, so the test runs on one version and says so on others. To
//! regenerate them, for another version or after a change: `TRYBUILD=overwrite cargo test --test compile_fail`, then
//! read each `.stderr` file.

use std::path::Path;
use std::process::Command;

/// The version whose texts are in `tests/compile_fail`.
const RUSTC: &str = "rustc 1.95.0";

#[test]
fn a_mistake_gives_one_error_that_names_paths_a_user_can_write() {
    if !Path::new(env!("CARGO_MANIFEST_DIR")).join("http/src").is_dir() {
        println!("not checked: the texts name files of the whole repository, which are not in the package");
        return;
    }
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output().expect("the compiler of this test");
    let version = String::from_utf8_lossy(&output.stdout);
    if !version.starts_with(&format!("{RUSTC} ")) {
        println!("not checked: the texts are those of {RUSTC}, this is {version}");
        return;
    }
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/compile_fail/*.rs");
    if cfg!(feature = "tower") {
        cases.compile_fail("tests/compile_fail/tower/*.rs");
    }
}
