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
fn blank(source: &str) -> String {
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
