//! Finding the files of the checkout, and telling the code of a Rust file from its comments and literals.

use std::fs;
use std::path::Path;

/// Folders that hold nothing of ours.
const FOREIGN_FOLDERS: &[&str] = &["target", "node_modules", "venv", "reports", "__pycache__"];

/// One text file: its path from the root of the checkout, with `/` on every system, and its content.
pub struct Text {
    pub path: String,
    pub content: String,
}

impl Text {
    /// The lines with their numbers from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.content.lines())
    }

    /// The same lines with comments and literals blanked out.
    pub fn code(&self) -> Vec<String> {
        blank(&self.content).lines().map(str::to_owned).collect()
    }

    /// The code without items that only tests are compiled with; lines and columns stay.
    pub fn shipped_code(&self) -> String {
        blank_tests(blank(&self.content))
    }

    /// The complaint that line `number` of this file `what`.
    pub fn complain(&self, number: usize, what: &str) -> String {
        format!("{}:{number}: {what}", self.path)
    }

    /// Is this file all test: an integration test or a part of one?
    pub fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.contains("/tests/")
    }
}

/// The text files of the checkout.
pub struct Files(Vec<Text>);

impl Files {
    pub fn of_the_checkout() -> Files {
        let mut files = Vec::new();
        walk(Path::new(env!("CARGO_MANIFEST_DIR")), "", &mut files);
        Files(files)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Text> {
        self.0.iter()
    }
}

impl FromIterator<Text> for Files {
    fn from_iter<I: IntoIterator<Item = Text>>(texts: I) -> Files {
        Files(texts.into_iter().collect())
    }
}

fn walk(folder: &Path, prefix: &str, files: &mut Vec<Text>) {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .expect("a folder of the checkout can be read")
        .map(|entry| entry.expect("an entry of the checkout can be read"))
        .collect();
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        let name = entry.file_name().into_string().expect("file names are UTF-8");
        let path = format!("{prefix}{name}");
        let kind = entry.file_type().expect("an entry has a type");
        if kind.is_dir() {
            let hidden = name.starts_with('.') && name != ".ci";
            if !hidden && !FOREIGN_FOLDERS.contains(&name.as_str()) {
                walk(&entry.path(), &format!("{path}/"), files);
            }
        } else if kind.is_file()
            // In a linked working tree it is a file, and names a folder of the machine.
            && name != ".git"
            && let Ok(content) = fs::read_to_string(entry.path())
        {
            // What is not UTF-8 is no text: a fuzzing corpus, an image.
            files.push(Text { path, content });
        }
    }
}

/// Replaces comments by spaces, and string and character literals by as many quotes; lines and columns stay.
pub fn blank(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let (skip, filler) = match first {
            '/' if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), ' '),
            '/' if rest.starts_with("/*") => (block_comment(rest), ' '),
            '"' => (string(rest), '"'),
            'r' if !out.ends_with(word_character) || out.ends_with('b') => (raw_string(rest).unwrap_or(0), '"'),
            '\'' => (character(rest), '"'),
            _ => (0, ' '),
        };
        if skip == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        out.extend(rest[..skip].chars().map(|c| match c {
            '\n' => '\n',
            _ => filler,
        }));
        rest = &rest[skip..];
    }
    out
}

pub fn word_character(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Replaces what stands under a `#[cfg(test)]` or `#[cfg(all(test, ..))]` in `code` by spaces.
fn blank_tests(mut code: String) -> String {
    const ATTRIBUTE: &str = "#[cfg(";
    let mut from = 0;
    while let Some(start) = code[from..].find(ATTRIBUTE).map(|at| from + at) {
        let inner = start + ATTRIBUTE.len();
        let end = inner + bracketed(&code[inner..], |_| false);
        from = inner;
        let condition = &code[inner..end];
        if condition == "test" || condition.starts_with("all(test,") {
            // The attribute's own `)]` first.
            let end = (end + 2).min(code.len());
            let end = end + item(&code[end..]);
            let spaces = code[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect::<String>();
            code.replace_range(start..end, &spaces);
        }
    }
    code
}

/// The length of the item, field, variant, arm or statement that `rest` starts with, attributes included.
fn item(rest: &str) -> usize {
    // A comma ends what begins with none of these.
    const ITEMS: &str = "async const enum extern fn impl let macro_rules mod static struct trait type unsafe use";
    let mut head = 0;
    loop {
        head += rest[head..].len() - rest[head..].trim_start().len();
        if rest[head..].starts_with("#[") {
            head += 2 + bracketed(&rest[head + 2..], |_| false) + 1;
        } else if rest[head..].starts_with("pub(") {
            head += 4 + bracketed(&rest[head + 4..], |_| false) + 1;
        } else if rest[head..].starts_with("pub ") {
            head += 4;
        } else {
            break;
        }
    }
    let word = rest[head..].split(|c| !word_character(c)).next().unwrap_or_default();
    let in_list = ITEMS.split(' ').all(|start| start != word);
    let body = head + bracketed(&rest[head..], |c| matches!(c, ';' | '}') || in_list && c == ',');
    // A tree of imports and some values have a semicolon behind their brace.
    let behind = &rest[body..];
    match behind.trim_start().strip_prefix(';') {
        Some(next) if rest[..body].ends_with('}') => rest.len() - next.len(),
        _ => body,
    }
}

/// The length of `rest` up to the bracket that encloses it, or through the first character outside of inner brackets
/// that is an end; the last bracket of an inner pair counts as outside.
fn bracketed(rest: &str, is_end: impl Fn(char) -> bool) -> usize {
    let mut depth = 0_usize;
    for (at, c) in rest.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 0 => return at,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 && is_end(c) {
            return at + c.len_utf8();
        }
    }
    rest.len()
}

/// The length of the block comment that `rest` starts with; they nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
        } else {
            at += 1;
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// The length of the string literal that `rest` starts with.
fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of the raw string literal that `rest`, which starts with `r`, starts with, if it does.
fn raw_string(rest: &str) -> Option<usize> {
    let hashes = rest[1..].bytes().take_while(|&byte| byte == b'#').count();
    let body = rest[1 + hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&end)? + end.len();
    Some(1 + hashes + 1 + length)
}

/// The length of the character literal that `rest`, which starts with a quote, starts with; 0 if it is a lifetime.
fn character(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    match (characters.next(), characters.next()) {
        (Some((_, '\\')), Some((at, escaped))) => {
            let after = at + escaped.len_utf8();
            rest[after..].find('\'').map_or(0, |end| after + end + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 0,
    }
}

#[test]
fn comments_and_literals_are_blanked() {
    for (source, code) in [
        ("a // unsafe", "a          "),
        ("/* a /* b */ c */ d", "                  d"),
        ("x(\"unsafe \\\" {\") y", "x(\"\"\"\"\"\"\"\"\"\"\"\"\") y"),
        ("r#\"a\"b\"# c", "\"\"\"\"\"\"\"\" c"),
        ("br\"a\" c", "b\"\"\"\" c"),
        ("for r in '\"'..'\\'' {}", "for r in \"\"\"..\"\"\"\" {}"),
        ("fn a<'a>(b: &'a str)", "fn a<'a>(b: &'a str)"),
        ("\"a\nb\" c", "\"\"\n\"\" c"),
    ] {
        assert_eq!(blank(source), code, "{source}");
    }
}

#[test]
fn items_for_tests_are_blanked() {
    for (source, code) in [
        ("a\n#[cfg(test)]\nmod tests {\n    b { c }\n}\nd", "a\n\n\n\n\nd"),
        ("#[cfg(test)]\nmod tests;\nd", "\n\nd"),
        ("#[cfg(all(test, not(loom)))]\nuse a::{b, c};\nd", "\n\nd"),
        ("#[cfg(not(test))]\na", "#[cfg(not(test))]\na"),
        ("#[cfg(any(test, b))]\na", "#[cfg(any(test, b))]\na"),
        ("#[cfg(test)] #[c(d)] pub(crate) fn a<A, B>() -> [A; 2] {} d", " d"),
        ("{ #[cfg(test)] a: b, d: e }", "{  d: e }"),
        ("{ d, #[cfg(test)] a }", "{ d, }"),
        ("#[cfg(test)] static A: B = B { c }; d", " d"),
    ] {
        let blanked = blank_tests(source.to_owned());
        assert_eq!(blanked.len(), source.len(), "{source}");
        let words = |text: &str| text.split(' ').collect::<String>();
        assert_eq!(words(&blanked), words(code), "{source}");
    }
}
