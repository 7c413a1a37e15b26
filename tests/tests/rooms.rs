//! Rooms: which module may name which, read from the sources. No peer is needed.
//!
//! A room is a top-level module of a crate. It may name its own parts and the rooms that its row lists; rows stand in
//! such an order that a room only lists rooms above it, so that nothing goes round in circles. A new room or a new
//! neighbour is a decision: it is written down here, in a row, or it fails.
//!
//! Seen are paths (`crate::room::…`, `use crate::{room, …}`), `use super::…` that climbs to the crate's root, and
//! crates of others. Not seen are names that a macro makes; there are none. What a room's own tests name counts.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// A room and the rooms that it may name.
type Row = (&'static str, &'static [&'static str]);

const LEDGER: &[Row] = &[
    ("store", &[]),
    ("entry", &["store"]),
    ("head", &["entry", "store"]),
    ("settle", &["entry", "head", "store"]),
    // `rewind` is below: appending a step works it out anew on each head, and a step is worked out in rewind.
    ("append", &["entry", "head", "rewind", "store"]),
    ("rewind", &["append", "entry", "head", "settle", "store"]),
    // Beside the log, and no part of it.
    ("columns", &["store"]),
];

const WORKER: &[Row] = &[
    // What everybody may need, and needs nobody.
    ("clock", &[]),
    ("logs", &[]),
    ("budget", &[]),
    ("allocator", &[]),
    ("http", &["clock"]),
    ("identity", &["clock", "http"]),
    // The flow. A limit that the memory cannot hold is a fault of the settings, and so they ask budget; identity names
    // the variable that tells whether this is ECS.
    ("settings", &["budget", "identity"]),
    ("schema", &["settings"]),
    ("kafka", &["settings"]),
    // The table from errors to exit codes; the store's and the ledger's errors come from their crate.
    ("exit", &["kafka"]),
    ("decode", &["kafka", "schema", "settings"]),
    ("encode", &[]),
    // Not only decode's neighbour: cursors admit Kafka's batches before they are decoded.
    ("batch", &["decode", "encode", "kafka", "schema", "settings"]),
    ("sink", &["batch", "clock"]),
    ("commit", &[]),
    // Who looks on. Of kafka, metrics only know the name of a partition.
    ("metrics", &["clock", "kafka"]),
    ("health", &["clock", "http", "metrics", "settings"]),
    // Who drives: the loop, then who builds the rooms for it.
    ("pipeline", &["batch", "clock", "commit", "decode", "exit", "kafka", "metrics", "settings", "sink"]),
    ("job", &["batch", "decode", "encode", "kafka", "pipeline", "schema", "settings"]),
    (
        "run",
        &[
            "batch", "budget", "clock", "exit", "health", "identity", "job", "kafka", "metrics", "pipeline",
            "schema", "settings",
        ],
    ),
    // Who reads what is there.
    ("verify", &["exit", "kafka", "settings"]),
    // A dry run of everything: it names whom it tries, and nobody names it.
    (
        "check",
        &[
            "batch", "budget", "clock", "decode", "encode", "exit", "identity", "job", "kafka", "pipeline",
            "run", "schema", "settings",
        ],
    ),
    ("history", &["settings"]),
];

const DEPLOYER: &[Row] = &[
    // What the others speak of.
    ("fault", &[]),
    ("release", &[]),
    ("rules", &[]),
    ("clock", &["release"]),
    ("policy", &["fault", "release"]),
    // What woke us, before anything is asked.
    ("event", &["release"]),
    // The flow. Records name the platforms that were observed, and the journal's store keeps a port of observe's; what
    // is looked for depends on what the journal says is under way.
    ("journal", &["observe", "policy", "release"]),
    ("observe", &["journal", "policy", "release"]),
    ("judge", &["journal", "observe", "policy", "release", "rules"]),
    ("plan", &["journal", "judge", "observe", "policy", "release", "rules"]),
    ("render", &["fault", "journal", "release"]),
    ("apply", &["journal", "observe", "plan", "release", "render"]),
    // Who speaks to people.
    ("command", &["clock", "event", "journal", "observe", "plan", "policy", "release", "render"]),
    ("report", &["clock", "event", "journal", "observe", "plan", "policy", "release"]),
    // Who keeps the ports. Of render it knows the name of a tag, of report the metrics that it sends.
    ("aws", &["apply", "journal", "observe", "policy", "release", "render", "report"]),
    // Its test shows a decision's line.
    ("logs", &["plan", "release", "report"]),
    // Who drives. The journal remembers a part of the settings.
    ("settings", &["fault", "journal", "logs", "policy", "release", "render"]),
    // Of apply it knows the port to CloudFormation; observe and plan only its tests.
    ("serve", &["apply", "clock", "event", "logs", "observe", "plan", "release"]),
    (
        "reconcile",
        &[
            "apply", "aws", "clock", "command", "event", "journal", "observe", "plan", "policy", "release",
            "render", "report", "serve", "settings",
        ],
    ),
];

const CRATES: [(&str, &[Row], &[Row]); 3] = [
    ("ledger", LEDGER, OUTSIDE),
    ("worker", WORKER, OUTSIDE),
    ("deployer-lambda", DEPLOYER, DEPLOYER_OUTSIDE),
];

/// Pairs that name each other, in spite of the order.
const BOTH_WAYS: &[(&str, &str)] = &[("append", "rewind"), ("journal", "observe")];

/// Crates of others (or all that start so, with `*`) and the rooms that may name them: a vendor stays behind one door.
const OUTSIDE: &[Row] = &[
    ("aws_*", &["kafka", "metrics", "store"]),
    ("axum", &["health"]),
    ("libc", &["allocator"]),
    ("parquet", &["encode", "verify"]),
    ("rdkafka*", &["kafka"]),
    ("sqlparser", &["schema"]),
    ("toml", &["settings"]),
    ("tracing_subscriber", &["logs"]),
    ("zstd", &["encode"]),
];

/// The same in the deployer.
const DEPLOYER_OUTSIDE: &[Row] = &[
    ("aws_*", &["aws"]),
    ("chrono_tz", &["policy"]),
    ("croner", &["policy"]),
    ("glob", &["policy"]),
    // logs quietens it.
    ("lambda_runtime", &["logs", "serve"]),
    // S3, and the ledger in it: the journal's object, who is rejected, and the settings of the store. Of apply only its
    // tests, whose journal lies in a store.
    ("ledger", &["apply", "aws", "journal", "observe", "reconcile", "settings"]),
    ("toml", &["policy"]),
    // settings only checks what the filter is set to.
    ("tracing_subscriber", &["logs"]),
];

/// Of the binaries: they assemble the rooms and may name all of them.
const BINARY: &[&str] = &["cli", "main"];

#[test]
fn every_room_names_only_its_neighbours() {
    for (name, table, _) in CRATES {
        let found = rooms_of(&source(name));
        let faults = faults(table, &found);
        assert!(faults.is_empty(), "{name}:\n{}\nthe table:\n{}", faults.join("\n"), shown(table));
    }
}

#[test]
fn what_others_wrote_stays_behind_one_door() {
    for (name, table, outside) in CRATES {
        let found = rooms_of(&source(name));
        let faults: Vec<String> = found.iter().flat_map(|room| strangers(room, outside)).collect();
        assert!(faults.is_empty(), "{name}:\n{}\nthe table:\n{}", faults.join("\n"), shown(outside));
        assert!(found.len() >= table.len(), "{name}: read too little");
    }
}

/// The ledger is below both programs; these meet only in S3.
#[test]
fn the_ledger_knows_no_program_and_the_programs_do_not_know_each_other() {
    let never =
        [("ledger", "worker"), ("ledger", "deployer"), ("worker", "deployer"), ("deployer-lambda", "worker")];
    for (name, other) in never {
        for room in rooms_of(&source(name)) {
            assert!(!room.outside.contains(other), "{name}: {} names {other}", room.name);
        }
        let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).expect("it has a manifest");
        let depends = manifest.lines().any(|line| line.starts_with(other));
        assert!(!depends, "{name}/Cargo.toml depends on {other}");
    }
}

/// What a room names, from all its files.
#[derive(Debug, Default)]
struct Room {
    name: String,
    /// Other rooms of its crate.
    inside: BTreeSet<String>,
    /// First parts of all other paths; crates are among them.
    outside: BTreeSet<String>,
}

fn faults(table: &[Row], found: &[Room]) -> Vec<String> {
    let mut faults = Vec::new();
    for (at, (name, neighbours)) in table.iter().enumerate() {
        let Some(room) = found.iter().find(|room| room.name == *name) else {
            faults.push(format!("{name}: it has a row and is not there"));
            continue;
        };
        let known: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
        for named in room.inside.iter().filter(|named| known.contains(&named.as_str())) {
            if !neighbours.contains(&named.as_str()) {
                faults.push(format!("{name}: names {named}, which is not its neighbour"));
            }
        }
        for neighbour in *neighbours {
            if !room.inside.contains(*neighbour) {
                faults.push(format!("{name}: {neighbour} is listed and not named any more"));
            }
            let above = table[..at].iter().any(|(above, _)| above == neighbour);
            if !above && !BOTH_WAYS.contains(&(name, neighbour)) {
                faults.push(format!("{name}: {neighbour} stands below it: that goes round in circles"));
            }
        }
    }
    for room in found.iter().filter(|room| !table.iter().any(|(name, _)| *name == room.name)) {
        faults.push(format!("{}: it has no row", room.name));
    }
    faults
}

fn strangers(room: &Room, outside: &[Row]) -> Vec<String> {
    let mut faults = Vec::new();
    for (pattern, doors) in outside {
        let named = room.outside.iter().find(|path| match pattern.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None => path == pattern,
        });
        if let Some(named) = named.filter(|_| !doors.contains(&room.name.as_str())) {
            faults.push(format!("{}: names {named}, which belongs to {}", room.name, doors.join(", ")));
        }
    }
    faults
}

fn shown(table: &[Row]) -> String {
    let mut text = String::new();
    for (name, neighbours) in table {
        let neighbours = if neighbours.is_empty() { "-".to_owned() } else { neighbours.join(", ") };
        writeln!(text, "  {name:<18} {neighbours}").expect("a string takes everything");
    }
    text
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn source(name: &str) -> PathBuf {
    root().join(name).join("src")
}

/// All rooms under `src`; the crate's own root file and the binary are none.
fn rooms_of(src: &Path) -> Vec<Room> {
    let mut files = Vec::new();
    collect(src, &mut files);
    let mut rooms: Vec<Room> = Vec::new();
    for file in files {
        let path = file.strip_prefix(src).expect("it was found under src");
        let modules = module_path(path);
        let Some(name) = modules.first().filter(|name| !BINARY.contains(&name.as_str())) else { continue };
        let text = fs::read_to_string(&file).expect("a source file is text");
        let at = rooms.iter().position(|room| room.name == *name).unwrap_or_else(|| {
            rooms.push(Room { name: name.clone(), ..Room::default() });
            rooms.len() - 1
        });
        read(&text, modules.len(), &mut rooms[at]);
    }
    rooms
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("sources can be listed") {
        let path = entry.expect("sources can be listed").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// `kafka/poll.rs` is `[kafka, poll]`, `kafka/mod.rs` is `[kafka]`, `lib.rs` is `[]`.
fn module_path(file: &Path) -> Vec<String> {
    let mut modules: Vec<String> =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if modules.last().is_some_and(|last| last == "mod") || modules == ["lib"] {
        modules.pop();
    }
    modules
}

/// Notes what `text`, a module `depth` below the root of its crate, names.
fn read(text: &str, depth: usize, room: &mut Room) {
    // Lines of comments name rooms in passing.
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    for line in &code {
        // rustfmt's indentation tells how many modules inside the file a `use` stands in.
        let inner = (line.len() - line.trim_start().len()) / 4;
        let Some(path) = line.trim_start().trim_start_matches("pub ").strip_prefix("use ") else { continue };
        let climbs = path.matches("super::").count();
        if climbs >= depth + inner {
            let rest = path.rsplit("super::").next().expect("rsplit gives at least one piece");
            room.inside.extend(first_names(rest));
        }
    }
    let code = code.join("\n");
    for (at, _) in code.match_indices("::") {
        let before = &code[..at];
        let start = before.rfind(|c: char| !is_name(c)).map_or(0, |at| at + 1);
        let (name, is_first) = (&before[start..], !before[..start].ends_with("::"));
        match name {
            "crate" => room.inside.extend(first_names(&code[at + 2..])),
            _ if is_first && !name.is_empty() => drop(room.outside.insert(name.to_owned())),
            _ => {}
        }
    }
    room.inside.remove(&room.name.clone());
}

/// The first name of each path in `room::…` or `{room::…, other}`.
fn first_names(path: &str) -> Vec<String> {
    let name = |text: &str| text.trim_start().chars().take_while(|c| is_name(*c)).collect::<String>();
    let Some(group) = path.strip_prefix('{') else { return vec![name(path)] };
    let (mut names, mut deep) = (vec![name(group)], 0_usize);
    for (at, c) in group.char_indices() {
        match c {
            '{' => deep += 1,
            '}' if deep == 0 => break,
            '}' => deep -= 1,
            ',' if deep == 0 => names.push(name(&group[at + 1..])),
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

mod reading {
    use super::*;

    fn named(text: &str, depth: usize) -> Room {
        let mut room = Room { name: "here".to_owned(), ..Room::default() };
        read(text, depth, &mut room);
        room
    }

    #[test]
    fn a_room_is_seen_however_it_is_named() {
        let cases = [
            "use crate::there::Thing;",
            "pub use crate::there;",
            "use crate::{\n    here::{A, B},\n    there::C,\n};",
            "use crate::{here, there};",
            "    fn f() { crate::there::g() }",
            "pub(in crate::there) fn f() {}",
            "use super::super::there::Thing;",
            "mod tests {\n    use super::super::super::there::Thing;\n}",
        ];
        for text in cases {
            assert!(named(text, 2).inside.contains("there"), "{text}");
        }
    }

    #[test]
    fn what_is_ones_own_and_what_is_said_in_passing_names_nobody() {
        for text in [
            "// as crate::there does",
            "use super::there::Thing;",
            "mod tests {\n    use super::super::there::Thing;\n}",
            "use crate::here::Thing;",
        ] {
            assert!(named(text, 2).inside.is_empty(), "{text}");
        }
    }

    #[test]
    fn crates_are_seen_in_paths_and_imports() {
        let room = named(
            "use rdkafka::Message;\nfn f() -> std::io::Result<()> { aws_x::f(a::rdkafka_sys::g()) }",
            1,
        );
        for name in ["rdkafka", "aws_x", "std", "a"] {
            assert!(room.outside.contains(name), "{name}");
        }
        assert!(!room.outside.contains("rdkafka_sys"));
    }

    #[test]
    fn a_table_is_told_what_is_wrong_with_it() {
        let room = |name: &str, inside: &[&str]| Room {
            name: name.to_owned(),
            inside: inside.iter().map(|name| (*name).to_owned()).collect(),
            ..Room::default()
        };
        let found = [room("a", &["b"]), room("b", &["a"]), room("d", &[])];
        let told = faults(&[("a", &[]), ("b", &["a"]), ("c", &["d"])], &found);
        assert_eq!(
            told,
            [
                "a: names b, which is not its neighbour",
                "c: it has a row and is not there",
                "d: it has no row"
            ]
        );
        let told = faults(&[("d", &["a"]), ("a", &["b"]), ("b", &["a"])], &found);
        assert_eq!(
            told,
            [
                "d: a is listed and not named any more",
                "d: a stands below it: that goes round in circles",
                "a: b stands below it: that goes round in circles"
            ]
        );
    }
}
