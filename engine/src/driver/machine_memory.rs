//! The memory that the process can use.

use std::path::Path;

/// Returns the memory of the machine, or of the process's control group if that has less; `None` if neither is known.
pub(crate) fn bytes() -> Option<usize> {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let machine = read(Path::new("/proc/meminfo")).and_then(|text| machine_bytes(&text));
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().filter_map(|line| group_bytes(line, read));
    limits.chain(machine).min().map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
}

/// Returns `MemTotal` of proc_meminfo(5).
fn machine_bytes(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Returns the lowest limit of the control group in a line of /proc/self/cgroup (cgroups(7)), and of those around it.
fn group_bytes(line: &str, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, group) = (fields.next()?, fields.next()?);
    let (root, file) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max"),
        _ if controllers.split(',').any(|name| name == "memory") => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        _ => return None,
    };
    // In a container the group's path is often that outside of it; the root is then the container's.
    let group = Path::new(root).join(group.trim_start_matches('/'));
    let folders = group.ancestors().filter(|folder| folder.starts_with(root));
    folders.filter_map(|folder| read(&folder.join(file))?.trim().parse().ok()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_the_machine_is_read() {
        assert_eq!(machine_bytes("MemTotal:       16384 kB\nMemFree:  1 kB\n"), Some(16 << 20));
        assert_eq!(machine_bytes("MemFree:  1 kB\n"), None);
    }

    #[test]
    fn the_lowest_limit_of_the_groups_counts() {
        let read = |path: &Path| match path.to_str()? {
            "/sys/fs/cgroup/a/b/memory.max" => Some("max\n".to_owned()),
            "/sys/fs/cgroup/a/memory.max" => Some("1000\n".to_owned()),
            "/sys/fs/cgroup/memory.max" => Some("2000\n".to_owned()),
            "/sys/fs/cgroup/memory/c/memory.limit_in_bytes" => Some("3000\n".to_owned()),
            _ => None,
        };
        assert_eq!(group_bytes("0::/a/b", read), Some(1000));
        assert_eq!(group_bytes("0::/elsewhere", read), Some(2000));
        assert_eq!(group_bytes("5:cpu,memory:/c", read), Some(3000));
        assert_eq!(group_bytes("4:cpu:/c", read), None);
        assert_eq!(group_bytes("nonsense", read), None);
    }
}
