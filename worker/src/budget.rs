//! Budget: how many bytes the process may take, and who may take how many of them.
//!
//! Order: the setting wins, then cgroup v2, cgroup v1, the ECS task's metadata, a share of the machine's memory.
//! Neighbours: settings and identity before it; kafka, batch and pipeline keep to it.

use std::path::Path;

const MIB: u64 = 1 << 20;

/// What the process takes before the first record: code, threads, TLS, clients' metadata. Measured at 50 to 60 MB.
pub const BASE_BYTES: u64 = 60 * MIB;
/// Files at least must have this much, counted as Arrow counts: one part of 5 MiB and rows beside it.
const OPEN_FILES_MIN: u64 = 8 * MIB;
/// Resident memory was 1.3 to 1.8 times what Arrow and Parquet say they hold.
const REAL_PER_COUNTED: f64 = 1.8;

/// Where the bytes go. All of them together, with the base, stay within `total`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Budget {
    /// The whole process, resident.
    pub total: u64,
    /// librdkafka's queue of fetched messages (queued.max.messages.kbytes).
    pub kafka_queue: u64,
    /// Batches taken from the client and not yet in a file: message bytes and their Arrow arrays together.
    pub records_in_flight: u64,
    /// Open files, as `memory_size()` and encoded bytes count them, not resident: that is up to 1.8 times as much.
    pub open_files: u64,
}

/// The memory does not suffice for the settings.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "divide {total} bytes of memory: records of up to {record_bytes_max} bytes need {needed}; give the container \
     more, or lower `memory.record_bytes_max`"
)]
pub struct TooLittle {
    pub total: u64,
    pub record_bytes_max: u64,
    pub needed: u64,
}

/// The least memory that records of this size can be moved in.
pub fn needed(record_bytes_max: u64) -> u64 {
    let open_files = (OPEN_FILES_MIN as f64 * REAL_PER_COUNTED) as u64;
    // A tenth stays free, see `Budget::of`.
    (BASE_BYTES + queue_min(record_bytes_max) + in_flight_min(record_bytes_max) + open_files) * 10 / 9 + 1
}

/// The largest record must fit, or it would block its partition for ever.
fn queue_min(record_bytes_max: u64) -> u64 {
    record_bytes_max.max(4 * MIB)
}

/// The largest record, once as it came and once decoded.
fn in_flight_min(record_bytes_max: u64) -> u64 {
    (2 * record_bytes_max).max(8 * MIB)
}

impl Budget {
    /// Divides `total` bytes. A tenth is left to the allocator, which gives nothing back at once.
    pub fn of(total: u64, record_bytes_max: u64) -> Result<Budget, TooLittle> {
        let needed = needed(record_bytes_max);
        if total < needed {
            return Err(TooLittle { total, record_bytes_max, needed });
        }
        let free = total - total / 10 - BASE_BYTES;
        let share =
            |percent: u64, least: u64, most: u64| (free / 100 * percent).clamp(least, most.max(least));
        let queue = share(20, queue_min(record_bytes_max), 256 * MIB);
        let in_flight = share(15, in_flight_min(record_bytes_max), 512 * MIB);
        let real = free - queue - in_flight;
        Ok(Budget {
            total,
            kafka_queue: queue,
            records_in_flight: in_flight,
            open_files: (real as f64 / REAL_PER_COUNTED) as u64,
        })
    }

    /// What the process takes when every share is full.
    pub fn resident_max(&self) -> u64 {
        BASE_BYTES
            + self.kafka_queue
            + self.records_in_flight
            + (self.open_files as f64 * REAL_PER_COUNTED) as u64
    }
}

/// Who set the limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LimitSource {
    Setting,
    CgroupV2,
    CgroupV1,
    TaskMetadata,
    /// Nobody did: half of the machine's memory.
    Machine,
    /// Not even the machine tells.
    Guess,
}

/// When nothing tells how much memory there is.
const GUESS_BYTES: u64 = 512 * MIB;

/// What each place says; none = nothing, or no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Readings {
    pub setting: Option<u64>,
    pub cgroup_v2: Option<u64>,
    pub cgroup_v1: Option<u64>,
    /// The ECS task's `Limits.Memory`, in bytes.
    pub task: Option<u64>,
    pub machine: Option<u64>,
}

/// How many bytes the process may take, and who says so.
pub fn limit(readings: &Readings) -> (u64, LimitSource) {
    // A "limit" above the machine's memory limits nothing.
    let real = |bytes: Option<u64>| bytes.filter(|bytes| readings.machine.is_none_or(|all| *bytes < all));
    let sources = [
        (readings.setting, LimitSource::Setting),
        (real(readings.cgroup_v2), LimitSource::CgroupV2),
        (real(readings.cgroup_v1), LimitSource::CgroupV1),
        (readings.task, LimitSource::TaskMetadata),
        (readings.machine.map(|bytes| bytes / 2), LimitSource::Machine),
    ];
    sources
        .into_iter()
        .find_map(|(bytes, source)| bytes.map(|bytes| (bytes, source)))
        .unwrap_or((GUESS_BYTES, LimitSource::Guess))
}

/// Asks the machine, under `root` (`/` but for tests); `setting` and `task` are known from elsewhere.
pub fn read(root: &Path, setting: Option<u64>, task: Option<u64>) -> Readings {
    let text = |path: &str| std::fs::read_to_string(root.join(path)).ok();
    let groups = text("proc/self/cgroup").unwrap_or_default();
    Readings {
        setting,
        task,
        cgroup_v2: cgroup_dirs(&groups, "")
            .filter_map(|dir| parse_cgroup_v2(&text(&format!("sys/fs/cgroup{dir}/memory.max"))?))
            .min(),
        cgroup_v1: cgroup_dirs(&groups, "memory")
            .filter_map(|dir| {
                parse_cgroup_v1(&text(&format!("sys/fs/cgroup/memory{dir}/memory.limit_in_bytes"))?)
            })
            .min(),
        machine: text("proc/meminfo").as_deref().and_then(parse_meminfo),
    }
}

/// Our cgroup and those above it, each of which may limit us: `/a/b`, `/a`, and the root as an empty string. Inside
/// a container that is mostly the root alone.
fn cgroup_dirs<'g>(groups: &'g str, controller: &str) -> impl Iterator<Item = &'g str> + use<'g> {
    let own = groups.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        controllers.split(',').any(|name| name == controller).then_some(path)
    });
    let own = own.unwrap_or("").trim_end_matches('/');
    std::iter::successors(Some(own), |path| path.rfind('/').map(|at| &path[..at]))
}

/// `memory.max`: bytes, or `max` for none.
fn parse_cgroup_v2(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// `memory.limit_in_bytes`: bytes; "no limit" is the largest multiple of the page size.
fn parse_cgroup_v1(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|bytes| *bytes < 1 << 62)
}

/// `MemTotal:  16384 kB`.
fn parse_meminfo(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_size_of_container_is_divided_within_itself() {
        for total in [128, 192, 256, 512, 1024, 2048, 4096, 8192, 16384].map(|mib| mib * MIB) {
            let budget = Budget::of(total, 8 * MIB).expect("the defaults fit");
            assert!(budget.resident_max() <= total - total / 10, "{budget:?}");
            assert!(budget.kafka_queue >= 8 * MIB, "{budget:?}");
            assert!(budget.records_in_flight >= 16 * MIB, "{budget:?}");
            assert!(budget.open_files >= OPEN_FILES_MIN, "{budget:?}");
        }
    }

    #[test]
    fn a_larger_container_gives_its_files_more() {
        let files = |mib: u64| Budget::of(mib * MIB, 8 * MIB).expect("fits").open_files;
        assert!(files(128) < files(256) && files(256) < files(1024) && files(1024) < files(16384));
        assert!(files(1024) > 300 * MIB, "most of it is for files");
        assert!(files(16384) > 7000 * MIB, "the other shares stop growing");
    }

    proptest! {
        #[test]
        fn what_is_needed_suffices_and_a_byte_less_is_refused(record in 1_u64..1 << 30) {
            let needed = needed(record);
            let budget = Budget::of(needed, record);
            prop_assert!(budget.is_ok());
            prop_assert!(budget.is_ok_and(|budget| budget.resident_max() <= needed));
            prop_assert!(Budget::of(needed - 1, record).is_err());
        }
    }

    #[test]
    fn the_setting_wins_and_a_limit_above_the_machine_is_none() {
        let machine = Some(8 << 30);
        let readings = Readings { setting: Some(1), cgroup_v2: Some(2), machine, ..Readings::default() };
        assert_eq!(limit(&readings), (1, LimitSource::Setting));
        let readings =
            Readings { cgroup_v2: Some(1 << 40), cgroup_v1: Some(3), machine, ..Readings::default() };
        assert_eq!(limit(&readings), (3, LimitSource::CgroupV1));
        let readings = Readings { task: Some(4), machine, ..Readings::default() };
        assert_eq!(limit(&readings), (4, LimitSource::TaskMetadata));
        assert_eq!(limit(&Readings { machine, ..Readings::default() }), (4 << 30, LimitSource::Machine));
        assert_eq!(limit(&Readings::default()), (GUESS_BYTES, LimitSource::Guess));
    }

    #[test]
    fn the_files_of_the_kernel_are_read() {
        assert_eq!(parse_cgroup_v2("536870912\n"), Some(512 * MIB));
        assert_eq!(parse_cgroup_v2("max\n"), None);
        assert_eq!(parse_cgroup_v1("536870912\n"), Some(512 * MIB));
        assert_eq!(parse_cgroup_v1("9223372036854771712\n"), None);
        assert_eq!(parse_meminfo("MemTotal:        2048 kB\nMemFree: 1 kB\n"), Some(2 * MIB));
        assert_eq!(parse_meminfo("nonsense"), None);
    }

    #[test]
    fn the_tightest_cgroup_above_us_counts() {
        let root = tempfile::tempdir().expect("a directory");
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("created");
            std::fs::write(path, text).expect("written");
        };
        write("proc/self/cgroup", "0::/ecs/task/worker\n");
        write("sys/fs/cgroup/ecs/task/worker/memory.max", "max\n");
        write("sys/fs/cgroup/ecs/task/memory.max", "1000\n");
        write("sys/fs/cgroup/ecs/memory.max", "2000\n");
        assert_eq!(read(root.path(), None, None).cgroup_v2, Some(1000));

        write("proc/self/cgroup", "5:cpu,memory:/docker/abc\n");
        write("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "3000");
        let readings = read(root.path(), None, None);
        assert_eq!((readings.cgroup_v2, readings.cgroup_v1), (None, Some(3000)));
        assert_eq!(read(Path::new("/nonexistent"), None, None).machine, None);
    }
}
