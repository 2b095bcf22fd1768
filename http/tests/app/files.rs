//! Files: what is served and what is not, conditions, ranges, compressed forms, changes.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::time::Duration;

use http::HeaderValue;
use tidegate_http::{Files, Router, Server, ServerBuilder};

use crate::support::{Answer, Folder, ask, exchange, get_bytes, on_each};

const LARGE_BYTES: usize = 3 * 1024 * 1024 + 7;

/// Bytes that repeat after no power of two.
pub fn pattern(seed: usize, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| ((at + seed) % 251) as u8 ^ ((at / 251) % 7) as u8).collect()
}

fn site(name: &str) -> Folder {
    let folder = Folder::new(name);
    folder.write("public/index.html", "<h1>index</h1>");
    folder.write("public/a.txt", "0123456789");
    folder.write("public/empty.txt", "");
    folder.write("public/sub/index.html", "sub index");
    folder.write("public/sub/b c.js", "let b;");
    folder.write("public/none/c.txt", "c");
    folder.write("public/.env", "SECRET=1");
    folder.write("public/.git/config", "secret");
    folder.write("public/large.bin", pattern(0, LARGE_BYTES));
    folder.write("secret.txt", "secret");
    symlink("../secret.txt", folder.0.join("public/out.txt")).expect("linked");
    symlink("a.txt", folder.0.join("public/in.txt")).expect("linked");
    folder
}

fn server(folder: &Folder) -> ServerBuilder<Router> {
    let public = folder.0.join("public");
    let app = Router::new()
        .files("/files", Files::new(&public).expect("opens"))
        .get("/one", Files::file(public.join("a.txt")).expect("opens"))
        .files("/fresh", Files::new(&public).expect("opens").check_interval(Duration::ZERO))
        .files("/hidden", Files::new(&public).expect("opens").hidden_files(true).index(None))
        .files("/plain", Files::new(&public).expect("opens").precompressed(false).cache_bytes_max(0));
    Server::builder(app)
}

fn head(address: SocketAddr, target: &str) -> Answer {
    let request = format!("HEAD {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    Answer::parse(&exchange(address, request.as_bytes()))
}

#[test]
fn files_are_served_with_their_types_and_versions() {
    let folder = site("files-served");
    on_each(
        || server(&folder),
        |address| {
            for (target, media_type, content) in [
                ("/files/a.txt", "text/plain; charset=utf-8", "0123456789"),
                ("/files/in.txt", "text/plain; charset=utf-8", "0123456789"),
                ("/one", "text/plain; charset=utf-8", "0123456789"),
                ("/files/", "text/html; charset=utf-8", "<h1>index</h1>"),
                ("/files/sub/", "text/html; charset=utf-8", "sub index"),
                ("/files/sub/b%20c.js?x=1", "text/javascript; charset=utf-8", "let b;"),
                ("/files/empty.txt", "text/plain; charset=utf-8", ""),
                ("/hidden/.env", "application/octet-stream", "SECRET=1"),
                ("/plain/a.txt", "text/plain; charset=utf-8", "0123456789"),
            ] {
                // Twice: from the disk, and from the cache.
                for _ in 0..2 {
                    let answer = ask(address, &format!("GET {target} HTTP/1.1"), b"");
                    assert_eq!((answer.status, answer.content.as_str()), (200, content), "{target}");
                    assert_eq!(answer.field("content-type"), Some(media_type), "{target}");
                    assert_eq!(answer.field("accept-ranges"), Some("bytes"));
                    assert!(answer.field("etag").is_some_and(|tag| tag.starts_with('"') && tag.ends_with('"')));
                    assert!(answer.field("last-modified").is_some_and(|date| date.ends_with(" GMT")));
                    let mut to_head = head(address, target);
                    to_head.content.clone_from(&answer.content);
                    assert_eq!(to_head.fields, answer.fields, "HEAD {target}");
                }
            }
        },
    );
}

#[test]
fn what_is_hidden_outside_or_not_there_is_not_found() {
    let folder = site("files-hidden");
    on_each(
        || server(&folder),
        |address| {
            for target in [
                "/files/missing",
                "/files/.env",
                "/files/.git/config",
                "/files/out.txt",
                "/files/../secret.txt",
                "/files/sub/../a.txt",
                "/files/%2e%2e/secret.txt",
                "/files/..%2Fsecret.txt",
                "/files/%2E%2E%5Csecret.txt",
                "/files//a.txt",
                "/files/sub//b%20c.js",
                "/files/./a.txt",
                "/files/a.txt/",
                "/files/a.txt/b",
                "/files/a.txt%00.html",
                "/files/none/",
                "/hidden/",
                "/hidden/../secret.txt",
            ] {
                let answer = ask(address, &format!("GET {target} HTTP/1.1"), b"");
                assert_eq!(answer.status, 404, "{target}");
                assert!(!answer.content.to_lowercase().contains("secret"), "{target}");
            }
            let long = ask(address, &format!("GET /files/{} HTTP/1.1", "a".repeat(4000)), b"");
            assert_eq!(long.status, 404);
        },
    );
}

#[test]
fn folders_are_redirected_to_their_slash_and_other_methods_refused() {
    let folder = site("files-folders");
    on_each(
        || server(&folder),
        |address| {
            for (target, location) in [
                ("/files", "/files/"),
                ("/files?a=b", "/files/?a=b"),
                ("/files/sub", "/files/sub/"),
                ("/files/sub?a=b", "/files/sub/?a=b"),
                ("/files/none", "/files/none/"),
            ] {
                let answer = ask(address, &format!("GET {target} HTTP/1.1"), b"");
                assert_eq!((answer.status, answer.field("location")), (301, Some(location)), "{target}");
            }
            for method in ["POST", "PUT", "DELETE", "PATCH"] {
                let answer = ask(address, &format!("{method} /files/a.txt HTTP/1.1"), b"");
                assert_eq!(answer.status, 405, "{method}");
                let allow = answer.field("allow").unwrap_or_default();
                assert!(allow.contains("GET") && allow.contains("HEAD"), "{allow}");
            }
        },
    );
}

#[test]
fn a_fallback_serves_the_whole_path() {
    let folder = site("files-fallback");
    let make = || {
        let files = Files::new(folder.0.join("public")).expect("opens");
        let files = files.cache_control(HeaderValue::from_static("no-cache"));
        Server::builder(Router::new().get("/api", async |_request: tidegate_http::Request| "api").fallback(files))
    };
    on_each(make, |address| {
        let whole = get_bytes(address, "/sub/", "");
        assert_eq!((whole.0.status, whole.1.as_slice()), (200, b"sub index".as_slice()));
        assert_eq!(whole.0.field("cache-control"), Some("no-cache"));
        assert_eq!(get_bytes(address, "/api", "").1, b"api");
        assert_eq!(get_bytes(address, "//sub", "").0.status, 404, "no redirect to another host");
        let refused =
            exchange(address, b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(Answer::parse(&refused).field("allow"), Some("GET, HEAD, OPTIONS"));
    });
}

#[test]
fn conditions_save_content() {
    let folder = site("files-conditions");
    on_each(
        || server(&folder),
        |address| {
            for target in ["/files/a.txt", "/files/large.bin"] {
                let (whole, content) = get_bytes(address, target, "");
                let (etag, date) = (whole.field("etag").expect("a tag"), whole.field("last-modified").expect("a date"));
                for fields in [format!("If-None-Match: W/{etag}\r\n"), format!("If-Modified-Since: {date}\r\n")] {
                    let (answer, nothing) = get_bytes(address, target, &fields);
                    assert_eq!((answer.status, nothing.len()), (304, 0), "{target} {fields}");
                    assert_eq!(answer.field("etag"), Some(etag));
                }
                assert_eq!(get_bytes(address, target, "If-Match: \"other\"\r\n").0.status, 412);
                for (condition, status) in [(etag, 206), (date, 206), ("\"other\"", 200)] {
                    let fields = format!("Range: bytes=2-4\r\nIf-Range: {condition}\r\n");
                    let (answer, part) = get_bytes(address, target, &fields);
                    assert_eq!(answer.status, status, "{condition}");
                    assert_eq!(part, if status == 206 { &content[2..5] } else { &content[..] });
                }
            }
        },
    );
}

#[test]
fn ranges_of_small_and_large_files() {
    let folder = site("files-ranges");
    on_each(
        || server(&folder),
        |address| {
            for target in ["/files/a.txt", "/files/large.bin"] {
                let (_, content) = get_bytes(address, target, "");
                let total = content.len();
                let last = total - 1;
                for (range, start, end) in [
                    ("0-0".to_owned(), 0, 1),
                    ("3-".to_owned(), 3, total),
                    ("-4".to_owned(), total - 4, total),
                    (format!("{last}-{last}"), last, total),
                    (format!("1-{}", total * 2), 1, total),
                ] {
                    let (answer, part) = get_bytes(address, target, &format!("Range: bytes={range}\r\n"));
                    assert_eq!(answer.status, 206, "{target} {range}");
                    let expected = format!("bytes {start}-{}/{total}", end - 1);
                    assert_eq!(answer.field("content-range"), Some(expected.as_str()));
                    assert_eq!(answer.field("content-length"), Some((end - start).to_string().as_str()));
                    assert!(part == content[start..end], "{target} {range}");
                }
                let (beyond, _) = get_bytes(address, target, &format!("Range: bytes={total}-\r\n"));
                assert_eq!(beyond.status, 416);
                assert_eq!(beyond.field("content-range"), Some(format!("bytes */{total}").as_str()));
                assert_eq!(get_bytes(address, target, "Range: bytes=5-2\r\n").0.status, 200);

                let ranges = [(0, 2), (4, 5), (total - 2, total)];
                let (answer, parts) = get_bytes(address, target, "Range: bytes=0-1, 4-4, -2\r\n");
                assert_eq!(answer.status, 206);
                let boundary = answer
                    .field("content-type")
                    .and_then(|value| value.strip_prefix("multipart/byteranges; boundary="));
                let boundary = boundary.expect("a boundary");
                let media_type = if total == 10 { "text/plain; charset=utf-8" } else { "application/octet-stream" };
                let mut expected = Vec::new();
                for (start, end) in ranges {
                    let line_end = if expected.is_empty() { "" } else { "\r\n" };
                    let head = format!(
                        "{line_end}--{boundary}\r\ncontent-type: {media_type}\r\ncontent-range: bytes {start}-{}/{total}\r\n\r\n",
                        end - 1
                    );
                    expected.extend_from_slice(head.as_bytes());
                    expected.extend_from_slice(&content[start..end]);
                }
                expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
                assert!(parts == expected, "{target}: {}", String::from_utf8_lossy(&parts));
            }
        },
    );
}

#[test]
fn compressed_forms_are_sent_to_those_who_accept_them() {
    let folder = site("files-precompressed");
    for (name, content) in
        [("app.js", "plain"), ("app.js.br", "br"), ("app.js.gz", "gz"), ("pic.png", "p"), ("pic.png.gz", "g")]
    {
        folder.write(&format!("public/{name}"), content);
    }
    on_each(
        || server(&folder),
        |address| {
            let mut tags = Vec::new();
            for (accepted, coding, content) in [
                ("", None, "plain"),
                ("Accept-Encoding: gzip, br\r\n", Some("br"), "br"),
                ("Accept-Encoding: gzip, zstd\r\n", Some("gzip"), "gz"),
                ("Accept-Encoding: gzip;q=0.5, identity\r\n", None, "plain"),
            ] {
                let (answer, sent) = get_bytes(address, "/files/app.js", accepted);
                assert_eq!(
                    (answer.field("content-encoding"), sent.as_slice()),
                    (coding, content.as_bytes()),
                    "{accepted}"
                );
                assert_eq!(answer.field("vary"), Some("accept-encoding"));
                assert_eq!(answer.field("content-type"), Some("text/javascript; charset=utf-8"));
                tags.push(answer.field("etag").expect("a tag").to_owned());
            }
            assert!(tags[0] != tags[1] && tags[1] != tags[2] && tags[0] == tags[3], "{tags:?}");
            let fields = format!("Accept-Encoding: br\r\nIf-None-Match: {}\r\n", tags[1]);
            let (unchanged, _) = get_bytes(address, "/files/app.js", &fields);
            assert_eq!((unchanged.status, unchanged.field("vary")), (304, Some("accept-encoding")));
            for target in ["/files/pic.png", "/plain/app.js", "/files/a.txt"] {
                let (answer, _) = get_bytes(address, target, "Accept-Encoding: gzip, br\r\n");
                assert_eq!((answer.field("content-encoding"), answer.field("vary")), (None, None), "{target}");
            }
        },
    );
}

#[test]
fn changes_show() {
    let folder = site("files-changes");
    on_each(
        || server(&folder),
        |address| {
            let path = folder.0.join("public/change.txt");
            let mut tags = Vec::new();
            for content in ["one", "two", "three", "a much longer text than before"] {
                // A new file in the place of the old one, and at once: by inode, length or time one of them differs.
                folder.write("public/next.txt", content);
                std::fs::rename(folder.0.join("public/next.txt"), &path).expect("renamed");
                let (answer, sent) = get_bytes(address, "/fresh/change.txt", "");
                assert_eq!(sent, content.as_bytes());
                tags.push(answer.field("etag").expect("a tag").to_owned());
                // Where the disk is looked at later, it shows in the end.
                while get_bytes(address, "/files/change.txt", "").1 != content.as_bytes() {}
            }
            std::fs::remove_file(&path).expect("removed");
            assert_eq!(get_bytes(address, "/fresh/change.txt", "").0.status, 404);
            while get_bytes(address, "/files/change.txt", "").0.status != 404 {}
        },
    );
}

#[test]
fn a_file_that_may_not_be_read_is_forbidden() {
    use std::os::unix::fs::PermissionsExt;
    let folder = site("files-forbidden");
    let path = folder.0.join("public/a.txt");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).expect("set");
    // The superuser may read everything.
    let expected = if std::fs::read(&path).is_ok() { 200 } else { 403 };
    on_each(
        || server(&folder),
        |address| {
            assert_eq!(get_bytes(address, "/files/a.txt", "").0.status, expected);
        },
    );
}

#[test]
fn a_folder_that_is_missing_is_an_error() {
    let folder = site("files-missing");
    assert!(Files::new(folder.0.join("nowhere")).is_err());
    assert!(Files::new(folder.0.join("secret.txt")).is_err());
    assert!(Files::file("/").is_err());
    assert!(Files::file(folder.0.join("not-yet.txt")).is_ok());
}
