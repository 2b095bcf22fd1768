//! The rules. Each takes a file and gives complaints; each has a test that it complains when it should and only then.

use std::collections::BTreeMap;

use crate::layers::LAYERS;
use crate::source::{Files, Text, word_character};
use crate::{COMMENT_COLUMNS_MAX, DEPENDENCIES, FOLDER_FILES_MAX, LONG_FILES, SOURCE_LINES_MAX, UNSAFE_PLACES};

/// What must not be left in the sources. Split, so that this file does not contain it.
const LEFT_BEHIND: &[&str] = &[
    concat!("to", "do!("),
    concat!("unimpl", "emented!("),
    concat!("db", "g!("),
    concat!("#[ign", "ore"),
    concat!("allow(dead", "_code"),
    concat!("#![al", "low("),
];

/// Folders of one machine; a text that names them holds nowhere else. Split for the same reason.
const MACHINE_PATHS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("/tm", "p/"),
];

/// File names that say nothing about what is in them. In a test's folder such a name says enough: what its files share.
const EMPTY_NAMES: &[&str] = &["utils.rs", "util.rs", "helpers.rs", "misc.rs", "common.rs"];

pub fn length(file: &Text) -> Vec<String> {
    let lines = file.content.lines().count();
    if lines <= SOURCE_LINES_MAX || file.is_test() || is_listed(LONG_FILES, &file.path) {
        return Vec::new();
    }
    vec![file.complain(lines, &format!("more than {SOURCE_LINES_MAX} lines: does it hold two things?"))]
}

/// rustfmt does not wrap comments. The row of a table and a word without a space cannot be wrapped.
pub fn comment_width(file: &Text) -> Vec<String> {
    complaints(file, |line| {
        let comment = line.trim_start().strip_prefix("//")?;
        let text = comment.trim_start_matches(['/', '!']).trim_start();
        let columns = line.chars().count();
        if columns <= COMMENT_COLUMNS_MAX || text.starts_with('|') || !text.contains(' ') {
            return None;
        }
        Some(format!("a comment of {columns} columns: at most {COMMENT_COLUMNS_MAX}"))
    })
}

pub fn file_name(file: &Text) -> Vec<String> {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    if file.is_test() || !EMPTY_NAMES.contains(&name) {
        return Vec::new();
    }
    vec![file.complain(1, "name the file after what is in it")]
}

pub fn left_behind(file: &Text) -> Vec<String> {
    complaints(file, |line| {
        let left = LEFT_BEHIND.iter().find(|left| line.contains(**left))?;
        Some(format!("`{left}` is left behind"))
    })
}

/// A heuristic: an ordinary comment whose text ends or begins as only code does.
pub fn commented_out(file: &Text) -> Vec<String> {
    complaints(file, |line| {
        let comment = line.trim_start().strip_prefix("//")?;
        if comment.starts_with(['/', '!']) {
            return None;
        }
        let comment = comment.trim();
        let code = comment.ends_with(';') && comment.contains(['(', '='])
            || comment.ends_with(" {")
            || comment == "}"
            || ["let ", "use ", "pub ", "#["]
                .iter()
                .any(|start| comment.starts_with(start) && comment.ends_with([';', '{', ']']));
        code.then(|| "looks like commented-out code".to_owned())
    })
}

/// A getter is named after what it returns. Tables have `get_mut`, as those of the standard library.
pub fn getters(file: &Text) -> Vec<String> {
    if file.is_test() || ["benches/", "ecosystem/"].iter().any(|folder| file.path.starts_with(folder)) {
        return Vec::new();
    }
    let code = file.code();
    (1..)
        .zip(&code)
        .filter(|(_, line)| line.contains("fn get_") && !line.contains("fn get_mut("))
        .map(|(number, _)| file.complain(number, "a getter is named after what it returns, without `get_`"))
        .collect()
}

pub fn unsafe_places(file: &Text) -> Vec<String> {
    if is_listed(UNSAFE_PLACES, &file.path) {
        return Vec::new();
    }
    let code = file.code();
    (1..)
        .zip(&code)
        .filter(|(_, line)| has_word(line, "unsafe"))
        .map(|(number, _)| file.complain(number, "`unsafe` outside the places listed for it"))
        .collect()
}

/// Tests wait for progress, never for time.
pub fn waiting(file: &Text) -> Vec<String> {
    if !file.is_test() {
        return Vec::new();
    }
    let code = file.code();
    (1..)
        .zip(&code)
        .filter(|(_, line)| line.contains("thread::sleep"))
        .map(|(number, _)| file.complain(number, "a test that sleeps"))
        .collect()
}

pub fn machine_paths(file: &Text) -> Vec<String> {
    complaints(file, |line| {
        let path = MACHINE_PATHS.iter().find(|path| {
            line.match_indices(**path).any(|(at, _)| {
                // What follows a word, a dot or a slash is part of a longer path or of an address.
                !line[..at].ends_with(|c: char| word_character(c) || "./-}".contains(c))
            })
        })?;
        Some(format!("`{path}` is a folder of one machine"))
    })
}

pub fn registry_hosts(file: &Text) -> Vec<String> {
    complaints(file, |line| {
        line.contains(concat!("\"resol", "ved\""))
            .then(|| "the address of a registry: install with --omit-lockfile-registry-resolved".to_owned())
    })
}

/// The dependency direction, and the lints every crate of the workspace shares.
pub fn manifest(file: &Text) -> Vec<String> {
    let Some((_, allowed)) = DEPENDENCIES.iter().find(|(path, _)| *path == file.path) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let mut section = "";
    let mut shares_lints = false;
    for (number, line) in file.lines() {
        let line = line.trim();
        if line.starts_with('[') {
            section = line;
        }
        shares_lints |= section == "[lints]" && line == "workspace = true";
        let name: &str = line.split(['.', '=', ' ']).next().unwrap_or_default();
        let depends = section.ends_with("dependencies]") && section != "[workspace.dependencies]";
        if depends && name.starts_with("tidegate-") && !allowed.contains(&name) {
            found.push(file.complain(number, &format!("this crate must not know `{name}`")));
        }
    }
    if !shares_lints {
        found.push(file.complain(1, "does not take the lints of the workspace"));
    }
    found
}

/// Folders of the published crates that hold too many Rust files, subfolders not counted.
pub fn folder_sizes(files: &Files) -> Vec<String> {
    let published = |path: &str| {
        path.starts_with("src/")
            || LAYERS.iter().any(|(name, _)| path.strip_prefix(name).is_some_and(|rest| rest.starts_with("/src/")))
    };
    let mut counts = BTreeMap::new();
    for file in files.iter().filter(|file| file.path.ends_with(".rs") && published(&file.path)) {
        let (folder, _) = file.path.rsplit_once('/').expect("it lies in a `src`");
        *counts.entry(folder).or_insert(0) += 1;
    }
    counts
        .into_iter()
        .filter(|(_, count)| *count > FOLDER_FILES_MAX)
        .map(|(folder, count)| {
            format!("{folder}: {count} files, more than {FOLDER_FILES_MAX}: group them in subfolders")
        })
        .collect()
}

/// Tests that the documentation names, as `module::test`, and no file has.
pub fn named_tests(files: &Files) -> Vec<String> {
    let documents = files.iter().filter(|file| file.path == "docs/ARCHITECTURE.md");
    let names = documents.flat_map(|file| {
        let quoted =
            file.lines().flat_map(|(number, line)| line.split('`').skip(1).step_by(2).map(move |it| (number, it)));
        quoted.filter_map(move |(number, quoted)| Some((file, number, quoted.rsplit_once("::")?.1)))
    });
    // Shorter names are of modules, types and functions.
    let missing = names.filter(|(_, _, name)| {
        let is_test =
            name.matches('_').count() > 2 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        is_test && !files.iter().any(|file| file.content.contains(&format!("fn {name}(")))
    });
    missing.map(|(file, number, name)| file.complain(number, &format!("there is no test `{name}`"))).collect()
}

/// Functions that the documentation names in a row after their file, and the file does not have.
pub fn named_functions(files: &Files) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| file.path == "docs/ARCHITECTURE.md") {
        for (number, line) in file.lines() {
            let mut cells = line.split('|').skip(1);
            let (Some(path), Some(functions)) = (cells.next(), cells.next()) else { continue };
            let Some(path) = path.trim().strip_prefix('`').and_then(|path| path.strip_suffix('`')) else { continue };
            if !path.ends_with(".rs") || !path.contains("/src/") {
                continue;
            }
            let Some(source) = files.iter().find(|file| file.path == path) else {
                complaints.push(file.complain(number, &format!("there is no file `{path}`")));
                continue;
            };
            let code = source.code();
            for function in functions.split('`').skip(1).step_by(2) {
                let name = function.rsplit("::").next().unwrap_or_default();
                let is_there =
                    |line: &String| ["(", "<"].iter().any(|after| line.contains(&format!("fn {name}{after}")));
                if !code.iter().any(is_there) {
                    complaints.push(file.complain(number, &format!("there is no function `{function}` in `{path}`")));
                }
            }
        }
    }
    complaints
}

/// Layers of a crate, as a line of the documentation, that are not those of the list.
pub fn named_layers(files: &Files) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| file.path == "docs/ARCHITECTURE.md") {
        let named: Vec<_> = file.lines().filter(|(_, line)| line.starts_with("`lib > ")).collect();
        if named.len() != LAYERS.len() {
            complaints.push(format!(
                "{}: one line of layers for each crate: {} of {}",
                file.path,
                named.len(),
                LAYERS.len()
            ));
        }
        for ((name, layers), (number, line)) in LAYERS.iter().zip(named) {
            let line = line.trim_matches('`');
            let ours = layers.join(" > ");
            if line != ours {
                complaints.push(file.complain(number, &format!("the layers of {name} are `{ours}`")));
            }
        }
    }
    complaints
}

/// Entries of the lists of exceptions that nothing needs any more.
pub fn needless_exceptions(files: &Files) -> Vec<String> {
    let long = LONG_FILES.iter().filter(|(path, _)| {
        !files.iter().any(|file| file.path == *path && file.content.lines().count() > SOURCE_LINES_MAX)
    });
    let places = UNSAFE_PLACES.iter().filter(|place| {
        !files.iter().any(|file| {
            is_listed(&[**place], &file.path)
                && file.path.ends_with(".rs")
                && file.code().iter().any(|line| has_word(line, "unsafe"))
        })
    });
    long.chain(places).map(|(path, _)| format!("{path}: needs no exception any more")).collect()
}

fn is_listed(list: &[(&str, &str)], path: &str) -> bool {
    list.iter().any(|(place, _)| path == *place || place.ends_with('/') && path.starts_with(place))
}

fn complaints(file: &Text, rule: impl Fn(&str) -> Option<String>) -> Vec<String> {
    file.lines().filter_map(|(number, line)| Some(file.complain(number, &rule(line)?))).collect()
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(word_character) && !line[at + word.len()..].starts_with(word_character))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str, content: &str) -> Text {
        Text { path: path.to_owned(), content: content.to_owned() }
    }

    /// The rule complains about the first content and not about the second.
    fn tells_apart(rule: fn(&Text) -> Vec<String>, path: &str, bad: &str, good: &str) {
        assert_eq!(rule(&text(path, bad)).len(), 1, "{bad}");
        assert_eq!(rule(&text(path, good)), Vec::<String>::new(), "{good}");
    }

    #[test]
    fn lengths() {
        let longest = "\n".repeat(SOURCE_LINES_MAX);
        tells_apart(length, "http/src/a.rs", &format!("{longest}\n"), &longest);
        assert!(length(&text("http/tests/a.rs", &format!("{longest}\n"))).is_empty());
    }

    #[test]
    fn widths_of_comments() {
        let (words, widest) = ("//! ä ", "    /// ä ".to_owned() + &"b".repeat(COMMENT_COLUMNS_MAX - 10));
        let good = format!("{widest}\n/// | {widest} |\n// {}\n", "b".repeat(COMMENT_COLUMNS_MAX));
        tells_apart(comment_width, "a.rs", &words.repeat(COMMENT_COLUMNS_MAX), &good);
        assert_eq!(comment_width(&text("a.rs", &format!("{widest}b"))).len(), 1);
    }

    #[test]
    fn names() {
        assert_eq!(file_name(&text("http/src/utils.rs", "")).len(), 1);
        assert!(file_name(&text("http/src/mask_utils.rs", "")).is_empty());
    }

    #[test]
    fn names_of_tests() {
        let table = "| a bug | `closing::a_peer_that_is_gone`, `closing::*`, `op` |\n";
        for (test, complaints) in [("fn a_peer_that_is_gone() {}", 0), ("fn a_peer_that_left() {}", 1)] {
            let files: Files = [text("docs/ARCHITECTURE.md", table), text("tests/a.rs", test)].into_iter().collect();
            assert_eq!(named_tests(&files).len(), complaints, "{test}");
        }
    }

    #[test]
    fn names_of_functions() {
        let table = "| File | Function |\n| `http/src/a.rs` | `A::b`, `c` | takes `d` |\n| `b` | `c` |\n";
        for (code, complaints) in
            [("fn b() {}\nfn c<T>() {}", 0), ("fn b() {}\n// fn c()", 1), ("fn bc() {}\nfn c() {}", 1), ("", 2)]
        {
            let files: Files = [text("docs/ARCHITECTURE.md", table), text("http/src/a.rs", code)].into_iter().collect();
            assert_eq!(named_functions(&files).len(), complaints, "{code}");
        }
        let files: Files = [text("docs/ARCHITECTURE.md", table)].into_iter().collect();
        assert_eq!(named_functions(&files).len(), 1, "the file is missing");
    }

    #[test]
    fn lines_of_layers() {
        let lines: Vec<_> = LAYERS.iter().map(|(_, layers)| format!("`{}`", layers.join(" > "))).collect();
        let complaints = |lines: &[String]| -> usize {
            let files: Files = [text("docs/ARCHITECTURE.md", &lines.join("\n\n"))].into_iter().collect();
            named_layers(&files).len()
        };
        assert_eq!(complaints(&lines), 0);
        assert_eq!(complaints(&lines[1..]), LAYERS.len(), "one is missing, and the others are shifted");
        let mut swapped = lines.clone();
        swapped[0] = swapped[0].replace("clock > util", "util > clock");
        assert_eq!(complaints(&swapped), 1);
    }

    #[test]
    fn sizes_of_folders() {
        let files = |folder: &str, count: usize| -> Files {
            (0..count)
                .map(|number| text(&format!("{folder}/{number}.rs"), ""))
                .chain([text("http/src/b/c.rs", "")])
                .collect()
        };
        assert_eq!(folder_sizes(&files("http/src", FOLDER_FILES_MAX + 1)).len(), 1);
        for good in [("http/src", FOLDER_FILES_MAX), ("http/tests", FOLDER_FILES_MAX + 1), ("benches/src", 99)] {
            assert_eq!(folder_sizes(&files(good.0, good.1)), Vec::<String>::new(), "{good:?}");
        }
    }

    #[test]
    fn what_is_left_behind() {
        for left in LEFT_BEHIND {
            tells_apart(left_behind, "a.rs", &format!(" {left}"), "// to do: nothing");
        }
    }

    #[test]
    fn commented_out_code() {
        let prose = "// A frame that fits (see above) is sent; the rest waits.\n/// let a = 1;\n//! use b;";
        for code in ["// let a = b;", "//     call(b);", "// if a {", "// }", "// #[test]"] {
            tells_apart(commented_out, "a.rs", code, prose);
        }
    }

    #[test]
    fn names_of_getters() {
        tells_apart(getters, "engine/src/a.rs", "fn get_a() {}", "fn a() {} // fn get_a");
        tells_apart(getters, "engine/src/a.rs", "fn get_mutex() {}", "fn get_mut(&mut self) {}");
    }

    #[test]
    fn places_of_unsafe() {
        let good = "#![forbid(unsafe_code)]\n// unsafe\nlet a = \"unsafe {\";";
        tells_apart(unsafe_places, "http/src/a.rs", "unsafe { b() }", good);
        assert!(unsafe_places(&text("engine/src/driver/a.rs", "unsafe { b() }")).is_empty());
    }

    #[test]
    fn sleeping_tests() {
        let bad = "std::thread::sleep(a);";
        tells_apart(waiting, "tests/a.rs", bad, "// thread::sleep(a);");
        assert!(waiting(&text("engine/src/a.rs", bad)).is_empty());
    }

    #[test]
    fn paths_of_a_machine() {
        for path in MACHINE_PATHS {
            let bad = format!("see {path}a");
            tells_apart(machine_paths, "README.md", &bad, &format!("see b{path}a"));
        }
    }

    #[test]
    fn addresses_of_a_registry() {
        let bad = concat!("\"resol", "ved\": \"https://registry.example/a.tgz\"");
        tells_apart(registry_hosts, "package-lock.json", bad, "\"integrity\": \"a\"");
    }

    #[test]
    fn the_dependency_direction() {
        let lints = "[lints]\nworkspace = true\n";
        let bad = format!("[dependencies]\ntidegate-http.workspace = true\n{lints}");
        tells_apart(manifest, "engine/Cargo.toml", &bad, lints);
        tells_apart(manifest, "http/Cargo.toml", "[dependencies]\n", lints);
        assert!(manifest(&text("websocket/Cargo.toml", &bad)).is_empty());
    }
}
