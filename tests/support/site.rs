//! A folder of files for the example `http` to serve.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The length of the large file, in bytes.
const LARGE_BYTES: usize = 24 << 20;

/// Returns the folder, which the first call in a process creates among the files of tests:
///
/// - `index.html`, a page
/// - `small.txt`, a line
/// - `large.bin`, 24 MiB of a pattern that no buffer's size divides
/// - `tone.wav`, four minutes of sound, for a media element
/// - `.hidden`
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let program = std::env::current_exe().expect("this program");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(program.file_name().expect("its name"));
        fs::create_dir_all(&folder).expect("a folder");
        let write = |name: &str, content: &[u8]| fs::write(folder.join(name), content).expect("a file");
        write("index.html", b"<!doctype html><title>Files</title><h1>Files</h1>\n");
        write("small.txt", b"A line of text.\n");
        write("large.bin", &(0..LARGE_BYTES).map(|index| (index % 65_521 % 251) as u8).collect::<Vec<u8>>());
        write("tone.wav", &tone(240));
        write(".hidden", b"hidden\n");
        folder
    })
}

/// Returns a WAV file: 16-bit samples of one channel, 44,100 a second, of a square wave.
fn tone(seconds: u32) -> Vec<u8> {
    const RATE: u32 = 44_100;
    let data_bytes = seconds * RATE * 2;
    let mut file = Vec::new();
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(36 + data_bytes).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt ");
    file.extend_from_slice(&16_u32.to_le_bytes());
    file.extend_from_slice(&1_u16.to_le_bytes()); // PCM
    file.extend_from_slice(&1_u16.to_le_bytes()); // one channel
    file.extend_from_slice(&RATE.to_le_bytes());
    file.extend_from_slice(&(RATE * 2).to_le_bytes());
    file.extend_from_slice(&2_u16.to_le_bytes()); // bytes of a sample
    file.extend_from_slice(&16_u16.to_le_bytes()); // bits of a sample
    file.extend_from_slice(b"data");
    file.extend_from_slice(&data_bytes.to_le_bytes());
    for sample in 0..seconds * RATE {
        let value: i16 = if sample / 50 % 2 == 0 { 1000 } else { -1000 };
        file.extend_from_slice(&value.to_le_bytes());
    }
    file
}
