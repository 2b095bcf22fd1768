//! The files of the cases with files, and the configuration of nginx for them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::files;

/// Name and size of each file.
const FILES: &[(&str, usize)] = &[("1k.bin", 1024), ("64k.bin", 64 * 1024), ("10m.bin", 10 * 1024 * 1024)];

/// The JSON text of the case with gzip, which every server makes of the query for each request.
pub const JSON_TEXT_BYTES: usize = 4000;

/// The query of that case.
#[must_use]
pub fn json_path() -> String {
    format!("/json?name={}", files::text(JSON_TEXT_BYTES))
}

/// Returns the path of the file of this size.
#[must_use]
pub fn file_path(bytes: u32) -> String {
    let name = FILES.iter().find(|(_, size)| *size == bytes as usize).map_or("missing", |(name, _)| name);
    format!("/files/{name}")
}

/// Debian's settings where they matter (`sendfile on`, `tcp_nopush on`), with one worker in the process that is
/// measured, and without what Tidegate does not do here: a log of all requests, and an end of the connection after a
/// number of them. The level of gzip is the default.
const NGINX: &str = r#"daemon off;
master_process off;
worker_processes 1;
error_log stderr error;
pid {dir}/nginx.pid;
events { worker_connections 16384; }
http {
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    default_type application/octet-stream;
    client_body_temp_path {dir}/nginx-body;
    proxy_temp_path {dir}/nginx-proxy;
    fastcgi_temp_path {dir}/nginx-fastcgi;
    uwsgi_temp_path {dir}/nginx-uwsgi;
    scgi_temp_path {dir}/nginx-scgi;
    large_client_header_buffers 4 16k;
    server {
        listen {addr} backlog=16384;
        location /files/ { alias {dir}/; }
        location = /json {
            default_type application/json;
            return 200 '{"hello":"$arg_name"}';
            gzip on;
            gzip_types application/json;
        }
    }
}
"#;

/// The wait after files were written: Tidegate copies large ones for 11 seconds after their last change.
const REST: Duration = Duration::from_secs(12);

/// Returns the folder of the files, next to the programs.
#[must_use]
pub fn folder(programs: &Path) -> PathBuf {
    programs.join("bench-files")
}

/// Writes the files into their folder, unless they are there.
///
/// # Errors
/// Those of the file system.
pub fn write(programs: &Path) -> io::Result<()> {
    let folder = folder(programs);
    fs::create_dir_all(&folder)?;
    let mut written = false;
    for (name, size) in FILES {
        let path = folder.join(name);
        if fs::metadata(&path).map_or(0, |metadata| metadata.len()) != *size as u64 {
            fs::write(path, files::content(*size))?;
            written = true;
        }
    }
    if written {
        thread::sleep(REST);
    }
    Ok(())
}

/// Returns the command that starts nginx, which takes its address from a file only.
#[must_use]
pub fn nginx() -> Vec<String> {
    let script = format!("cat > {{dir}}/nginx.conf <<'END'\n{NGINX}END\nexec nginx -p {{dir}} -c {{dir}}/nginx.conf");
    ["sh", "-c", &script].map(str::to_owned).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_size_has_its_file() {
        assert_eq!(file_path(1024), "/files/1k.bin");
        assert_eq!(file_path(10 * 1024 * 1024), "/files/10m.bin");
        assert_eq!(json_path().len(), "/json?name=".len() + JSON_TEXT_BYTES);
        assert!(nginx()[2].contains("listen {addr}"));
    }
}
