//! The direction of imports between the modules of one crate.
//!
//! Reads every path that starts with `crate`, `super` or `self`, in `use` declarations and in code alike, resolves it
//! to a module directly below the crate's root, and compares the two modules' places in the list. Test code may import
//! anything.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Files, Text, word_character};

/// A crate's name, which is also its folder's, and its modules, top first.
type Layers = (&'static str, &'static [&'static str]);

/// A crate, the importing module, the imported one above it, and the reason.
type Circle = (&'static str, &'static str, &'static str, &'static str);

/// A path in the code, resolved from the crate's root.
#[derive(Debug, PartialEq)]
struct Reference {
    line: usize,
    path: Vec<String>,
}

/// Complains about imports that point up, modules missing from the list, and needless entries of both lists.
pub fn directions(files: &Files, layers: &[Layers], circles: &[Circle]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut needed = BTreeSet::new();
    for &(name, order) in layers {
        let sources: Vec<_> = files.iter().filter_map(|file| Some((file, module_of(file, name)?))).collect();
        let modules: BTreeSet<_> = sources.iter().map(|(_, module)| top(module)).collect();
        let places: BTreeMap<_, _> = order.iter().copied().zip(0..).collect();
        for module in modules.iter().filter(|module| !places.contains_key(**module)) {
            complaints.push(format!("{name}: the module `{module}` is missing from the layers"));
        }
        for module in order.iter().filter(|module| !modules.contains(**module)) {
            complaints.push(format!("{name}: the layers list `{module}`, which does not exist"));
        }
        for (file, module) in &sources {
            let from = top(module);
            for reference in references(&file.shipped_code(), module) {
                let Some(to) = reference.path.first().map(String::as_str) else { continue };
                if from == "lib" {
                    continue;
                }
                if !modules.contains(to) {
                    complaints.push(
                        file.complain(reference.line, &format!("`crate::{to}`: name the module, not the re-export")),
                    );
                    continue;
                }
                let (Some(here), Some(there)) = (places.get(from), places.get(to)) else { continue };
                if there >= here {
                    continue;
                }
                match circles.iter().find(|circle| (circle.0, circle.1, circle.2) == (name, from, to)) {
                    Some(circle) => _ = needed.insert(circle),
                    None => complaints.push(file.complain(
                        reference.line,
                        &format!("`{from}` imports `{}` from the layer above it", reference.path.join("::")),
                    )),
                }
            }
        }
    }
    for circle in circles.iter().filter(|circle| !needed.contains(*circle)) {
        complaints.push(format!("{}: `{}` no longer imports `{}`: remove the exception", circle.0, circle.1, circle.2));
    }
    complaints
}

/// The path of `file`'s module from the root of the crate `name`; `None` for other crates' files and for tests.
fn module_of<'a>(file: &'a Text, name: &str) -> Option<Vec<&'a str>> {
    let path = file.path.strip_prefix(name)?.strip_prefix("/src/")?.strip_suffix(".rs")?;
    let mut module: Vec<_> = path.split('/').collect();
    if module.contains(&"tests") {
        return None;
    }
    if matches!(module.last(), Some(&"mod")) || module == ["lib"] {
        module.pop();
    }
    Some(module)
}

/// The module directly below the root that `module` is or lies in.
fn top<'a>(module: &[&'a str]) -> &'a str {
    module.first().copied().unwrap_or("lib")
}

/// Every path in `code` that starts at the crate's root or relative to `module`, which `code` is the content of.
fn references(code: &str, module: &[&str]) -> Vec<Reference> {
    let tokens = tokens(code);
    let token = |at: usize| tokens.get(at).map_or("", |(_, token)| *token);
    let mut found = Vec::new();
    let mut module: Vec<_> = module.iter().map(|&name| name.to_owned()).collect();
    // The depths of braces at which inline modules were opened.
    let mut inline = Vec::new();
    let mut depth = 0_usize;
    let mut at = 0;
    while at < tokens.len() {
        match token(at) {
            "mod" if token(at + 2) == "{" => {
                module.push(token(at + 1).to_owned());
                inline.push(depth);
            }
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                if inline.last() == Some(&depth) {
                    inline.pop();
                    module.pop();
                }
            }
            "crate" | "super" | "self" if token(at + 1) == "::" && (at == 0 || token(at - 1) != "::") => {
                at = tree(&tokens, at, &module, &mut found);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Reads one path, or a tree of them, whose first name is at `at`; returns the position after it.
fn tree(tokens: &[(usize, &str)], mut at: usize, base: &[String], found: &mut Vec<Reference>) -> usize {
    let mut path = base.to_vec();
    let mut line = 0;
    while let Some(&(here, token)) = tokens.get(at) {
        match token {
            "{" => {
                at += 1;
                while let Some(&(_, token)) = tokens.get(at) {
                    at = match token {
                        "}" => return at + 1,
                        "," => at + 1,
                        "as" => at + 2,
                        _ => tree(tokens, at, &path, found).max(at + 1),
                    };
                }
                return at;
            }
            "crate" => path.clear(),
            "super" => _ = path.pop(),
            "self" => {}
            "*" => path.push(token.to_owned()),
            name if name.starts_with(word_character) => path.push(name.to_owned()),
            // A turbofish: the path has ended before it.
            _ => break,
        }
        line = here;
        at += 1;
        if tokens.get(at).is_none_or(|(_, token)| *token != "::") {
            break;
        }
        at += 1;
    }
    // Exported macros have no other path than one at the root.
    let exported_macro = path.len() == 1 && tokens.get(at).is_some_and(|(_, token)| *token == "!");
    if !exported_macro {
        found.push(Reference { line, path });
    }
    at
}

/// The words, `::` and other single characters of `code`, each with its line.
fn tokens(code: &str) -> Vec<(usize, &str)> {
    let mut tokens = Vec::new();
    for (number, line) in (1..).zip(code.lines()) {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = if word_character(first) {
                rest.find(|c| !word_character(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            tokens.push((number, &rest[..length]));
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: &[Layers] = &[("engine", &["lib", "high", "low"])];

    fn complaints(circles: &[Circle], texts: &[(&str, &str)]) -> Vec<String> {
        let mut tree = vec![("lib.rs", "mod high;\nmod low;\npub use low::B;"), ("high/mod.rs", ""), ("low.rs", "")];
        tree.retain(|(path, _)| !texts.iter().any(|(other, _)| other == path));
        tree.extend(texts);
        let text =
            |(path, content): (&str, &str)| Text { path: format!("engine/src/{path}"), content: content.to_owned() };
        directions(&tree.into_iter().map(text).collect(), ORDER, circles)
    }

    #[test]
    fn upward_imports_are_refused() {
        for bad in [
            "use crate::high::A;",
            "pub(crate) use crate::high::{A as B};",
            "use crate::{low::{A, B as C}, high::a::{A}};",
            "use crate::{\n    low::B,\n    high,\n};",
            "use super::high;",
            "fn a() {\n    crate::high::a::<u8>();\n}",
            "mod inline {\n    use super::super::high;\n}",
            "macro_rules! a { () => { $crate::high::a() } }",
            "#[cfg(test)]\nmod tests {}\nuse crate::high::A;",
            "#[cfg(not(test))]\nuse crate::high::A;",
        ] {
            let found = complaints(&[], &[("low.rs", bad)]);
            assert_eq!(found.len(), 1, "{bad}: {found:?}");
            assert!(found[0].contains("`low` imports `high"), "{bad}: {found:?}");
        }
    }

    #[test]
    fn imports_from_a_nested_file_count_for_its_folder() {
        for bad in ["use crate::high::A;", "use super::super::high::A;"] {
            assert_eq!(complaints(&[], &[("low/deep.rs", bad)]).len(), 1, "{bad}");
        }
        for good in ["use super::high;", "use super::other::A;", "use self::high::A;", "use crate::low::A;"] {
            assert_eq!(complaints(&[], &[("low/deep.rs", good)]), Vec::<String>::new(), "{good}");
        }
    }

    #[test]
    fn downward_imports_and_tests_are_free() {
        let good = "use crate::low::{self, A};\nuse super::low as other;\nfn a() { self::b::c(); Self::d(); }";
        assert_eq!(complaints(&[], &[("high/mod.rs", good)]), Vec::<String>::new());
        for good in [
            "// crate::high::A\n/// [`A`](crate::high::A)\nconst A: &str = \"crate::high::A\";",
            "mod inline {\n    use super::high;\n}",
            "#[cfg(test)]\nmod tests {\n    use crate::high::{A, B};\n    fn a() { if b {} }\n}",
            "#[cfg(all(test, not(loom)))]\nuse crate::{high::{A}};",
            "#[cfg(test)]\n#[inline]\npub(crate) fn a<A, B>() -> [u8; 2] { crate::high::a() }",
            "struct A {\n    #[cfg(test)]\n    b: Vec<crate::high::B>,\n}",
            "crate::exported_macro! { a }",
        ] {
            assert_eq!(complaints(&[], &[("low.rs", good)]), Vec::<String>::new(), "{good}");
        }
        for path in ["low/tests.rs", "low/tests/a.rs"] {
            assert_eq!(complaints(&[], &[(path, "use crate::high::A;")]), Vec::<String>::new(), "{path}");
        }
    }

    #[test]
    fn the_root_is_imported_by_nobody() {
        for bad in ["use crate::B;", "use super::B;", "fn a() -> crate::B {}", "use crate::*;"] {
            assert_eq!(complaints(&[], &[("high/mod.rs", bad)]).len(), 1, "{bad}");
        }
        assert_eq!(complaints(&[], &[("lib.rs", "fn a() -> crate::B {}")]), Vec::<String>::new());
    }

    #[test]
    fn exceptions_are_needed_and_named() {
        let circle: Circle = ("engine", "low", "high", "a reason");
        assert_eq!(complaints(&[circle], &[("low.rs", "use crate::high::A;")]), Vec::<String>::new());
        assert_eq!(complaints(&[circle], &[]).len(), 1);
    }

    #[test]
    fn the_list_names_what_exists() {
        assert_eq!(complaints(&[], &[("new.rs", "")]), ["engine: the module `new` is missing from the layers"]);
        let missing = [("engine", &["lib", "high", "middle", "low"][..])];
        let files: Files = ["lib", "high", "low"]
            .map(|name| Text { path: format!("engine/src/{name}.rs"), content: String::new() })
            .into_iter()
            .collect();
        assert_eq!(directions(&files, &missing, &[]), ["engine: the layers list `middle`, which does not exist"]);
    }

    #[test]
    fn the_line_of_a_name_in_a_group_is_its_own() {
        let found = references("use crate::{\n    a::B,\n    c::{\n        D,\n    },\n};", &["low"]);
        let path = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(
            found,
            [Reference { line: 2, path: path(&["a", "B"]) }, Reference { line: 4, path: path(&["c", "D"]) }]
        );
    }
}
