//! Memory of a process and of the kernel, from /proc.

use std::time::Duration;
use std::{fs, io, thread};

/// The most readings of memory until it settles, and the time between them.
const READINGS_MAX: u32 = 100;
const READING_INTERVAL: Duration = Duration::from_millis(100);

/// Memory has settled when this many readings differ by no more than this share. Servers give memory back some time
/// after they last needed it: Tidegate looks once a second.
const READINGS_ALIKE: u32 = 15;
const SETTLED: f64 = 0.001;

/// Kernel memory of the whole system, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kernel {
    /// Slab objects: sockets, files, their inodes, armed operations.
    pub slab: u64,
    /// Memory the kernel allocates per core.
    pub percpu: u64,
    /// Memory of the buffers of all TCP sockets.
    pub sockets: u64,
    /// Kernel stacks of threads.
    pub stacks: u64,
    /// Page tables.
    pub page_tables: u64,
}

impl Kernel {
    /// Reads the current values.
    ///
    /// # Errors
    /// If /proc does not have them.
    pub fn now() -> io::Result<Self> {
        let memory = fs::read_to_string("/proc/meminfo")?;
        let sockets = fs::read_to_string("/proc/net/sockstat")?;
        let field = |name| kibibytes(&memory, name).ok_or_else(|| missing(name));
        Ok(Self {
            slab: field("Slab:")?,
            percpu: field("Percpu:")?,
            sockets: socket_pages(&sockets).ok_or_else(|| missing("TCP mem"))? * page_bytes(),
            stacks: field("KernelStack:")?,
            page_tables: field("PageTables:")?,
        })
    }

    /// Returns the sum.
    #[must_use]
    pub fn total(self) -> u64 {
        self.slab + self.percpu + self.sockets + self.stacks + self.page_tables
    }
}

/// Returns a process's own share of anonymous memory (heap, stacks, buffers), in bytes.
///
/// # Errors
/// If the process is gone or its memory may not be read.
pub fn user(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    kibibytes(&text, "Pss_Anon:").ok_or_else(|| missing("Pss_Anon"))
}

/// Returns the most memory that a process has had, with its program and its share of files, in bytes.
///
/// # Errors
/// If the process is gone.
pub fn peak(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    kibibytes(&text, "VmHWM:").ok_or_else(|| missing("VmHWM"))
}

/// Returns the resident memory of a process's mappings that ask for huge pages (`MADV_HUGEPAGE`), in bytes: in a
/// Tidegate server the receive buffers of rings. It is 0 where the kernel has no huge pages.
///
/// # Errors
/// If the process is gone or its memory may not be read.
pub fn huge_page_areas(pid: u32) -> io::Result<u64> {
    Ok(areas_with_flag(&fs::read_to_string(format!("/proc/{pid}/smaps"))?, "hg"))
}

/// Returns the anonymous memory of the mappings with a flag.
fn areas_with_flag(smaps: &str, flag: &str) -> u64 {
    let (mut sum, mut anonymous) = (0, 0);
    for line in smaps.lines() {
        if let Some(bytes) = kibibytes(line, "Anonymous:") {
            anonymous = bytes;
        } else if let Some(flags) = line.strip_prefix("VmFlags:") {
            sum += if flags.split_ascii_whitespace().any(|known| known == flag) { anonymous } else { 0 };
            anonymous = 0;
        }
    }
    sum
}

/// Returns the memory that programs could still take, in bytes.
///
/// # Errors
/// If /proc does not have it.
pub fn available() -> io::Result<u64> {
    let memory = fs::read_to_string("/proc/meminfo")?;
    kibibytes(&memory, "MemAvailable:").ok_or_else(|| missing("MemAvailable"))
}

/// Returns the memory of each kind of kernel object on the whole system, in bytes; nothing if it may not be read, as by
/// other users than root. Kinds of the same size can share one name.
#[must_use]
pub fn slabs() -> Vec<(String, u64)> {
    let text = fs::read_to_string("/proc/slabinfo").unwrap_or_default();
    text.lines().filter_map(slab).collect()
}

/// Parses a line of slabinfo: the name, the pages of a slab, and the number of slabs.
fn slab(line: &str) -> Option<(String, u64)> {
    let mut words = line.split_ascii_whitespace();
    let name = words.next()?;
    let pages: u64 = words.nth(4)?.parse().ok()?;
    let slabs: u64 = words.skip_while(|word| *word != "slabdata").nth(2)?.parse().ok()?;
    Some((name.to_owned(), slabs * pages * page_bytes()))
}

/// Returns a reading once 15 in a row are nearly the same, or the last of 100, one every 100 ms.
///
/// # Errors
/// Those of `read`.
pub fn settled<T, E>(read: impl FnMut() -> Result<T, E>, bytes: impl Fn(&T) -> u64) -> Result<T, E> {
    settled_after(READING_INTERVAL, read, bytes)
}

fn settled_after<T, E>(
    interval: Duration,
    mut read: impl FnMut() -> Result<T, E>,
    bytes: impl Fn(&T) -> u64,
) -> Result<T, E> {
    let mut last = read()?;
    let (mut first, mut alike) = (bytes(&last), 1);
    for _ in 1..READINGS_MAX {
        thread::sleep(interval);
        last = read()?;
        let now = bytes(&last);
        if now.abs_diff(first) as f64 > now as f64 * SETTLED {
            (first, alike) = (now, 0);
        }
        alike += 1;
        if alike == READINGS_ALIKE {
            break;
        }
    }
    Ok(last)
}

/// Returns the value of a `Name:  123 kB` line, in bytes.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}

/// Returns the pages that all TCP sockets hold.
fn socket_pages(sockstat: &str) -> Option<u64> {
    let line = sockstat.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let mut words = line.split_whitespace();
    words.find(|word| *word == "mem")?;
    words.next()?.parse().ok()
}

fn page_bytes() -> u64 {
    // SAFETY: sysconf only looks up a number.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(bytes).unwrap_or(4096)
}

fn missing(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("missing {name} in /proc"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "Pss:      1000 kB\nPss_Anon:  300 kB\nSlab:  7 kB\n";
        assert_eq!(kibibytes(text, "Pss_Anon:"), Some(300 * 1024));
        assert_eq!(kibibytes(text, "Slab:"), Some(7 * 1024));
        assert_eq!(kibibytes(text, "Percpu:"), None);
    }

    #[test]
    fn socket_memory_is_the_number_behind_its_name() {
        let text = "sockets: used 9\nTCP: inuse 3 orphan 0 tw 9 alloc 3 mem 296\nUDP: inuse 0 mem 2\n";
        assert_eq!(socket_pages(text), Some(296));
        assert_eq!(socket_pages("UDP: inuse 0 mem 2"), None);
    }

    #[test]
    fn areas_are_told_apart_by_their_flags() {
        let area = |bytes, flags| format!("7f0-7f1 rw-p 0\nSize:  99 kB\nAnonymous:  {bytes} kB\nVmFlags: {flags}\n");
        let smaps = [area(4, "rd wr hg sd"), area(8, "rd wr"), area(16, "hg"), area(32, "nh")].concat();
        assert_eq!(areas_with_flag(&smaps, "hg"), 20 * 1024);
    }

    #[test]
    fn a_slab_is_counted_with_all_of_its_pages() {
        let line = "TCP   50 54 2304 14 8 : tunables 0 0 0 : slabdata 3 4 0";
        assert_eq!(slab(line), Some(("TCP".to_owned(), 4 * 8 * page_bytes())));
        assert_eq!(slab("# name <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables"), None);
    }

    #[test]
    fn a_reading_counts_once_many_are_alike() {
        let settled = |readings: &mut dyn Iterator<Item = u64>| {
            settled_after(Duration::ZERO, || readings.next().ok_or(()), |bytes| *bytes)
        };
        let alike = READINGS_ALIKE as usize;
        let mut readings = [9_000].into_iter().chain([10_000].repeat(alike - 1)).chain([10_009, 20_000]);
        assert_eq!(settled(&mut readings), Ok(10_009));
        assert_eq!(readings.next(), Some(20_000));
        let mut slow = (0..).step_by(7);
        assert_eq!(settled(&mut slow), Ok(7 * u64::from(READINGS_MAX - 1)), "it never settles");
        assert_eq!(settled(&mut std::iter::empty()), Err(()));
    }

    #[test]
    fn memory_taken_shows() {
        let before = user(std::process::id()).unwrap();
        let taken = std::hint::black_box(vec![1_u8; 8 << 20]);
        assert!(user(std::process::id()).unwrap() >= before + taken.len() as u64 / 2);
        assert!(Kernel::now().unwrap().total() > 0);
        assert!(user(u32::MAX).is_err());
    }
}
