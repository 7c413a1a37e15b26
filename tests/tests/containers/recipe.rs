//! Recipe: what the Dockerfile says must agree with the rest of the repository. No peer is needed.

use std::fs;

use serde_json::Value;

use super::image::root;

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// What follows `prefix` on the lines that begin with it.
fn after<'t>(text: &'t str, prefix: &str) -> Vec<&'t str> {
    text.lines().filter_map(|line| line.trim_start().strip_prefix(prefix)).collect()
}

#[test]
fn the_image_is_compiled_by_the_toolchain_of_the_repository() {
    let toolchain = read("rust-toolchain.toml");
    let channel = after(&toolchain, "channel = ");
    let [channel] = channel[..] else { panic!("one channel: {channel:?}") };
    let channel = channel.trim_matches('"');
    let dockerfile = read("Dockerfile");
    assert_eq!(after(&dockerfile, "ENV RUSTUP_TOOLCHAIN="), [format!("{channel} \\")]);
    let image = after(&dockerfile, "ARG RUST_IMAGE=");
    assert!(image.len() == 1 && image[0].contains(&format!("rust:{channel}-")), "{image:?}");
}

#[test]
fn every_crate_is_where_the_image_is_compiled() {
    let dockerfile = read("Dockerfile");
    let copied = after(&dockerfile, "COPY ");
    let manifest = read("Cargo.toml");
    let members = after(&manifest, "members = ");
    let members: Vec<String> = serde_json::from_str(members[0]).expect("a list of names");
    for member in members {
        assert!(
            copied.contains(&format!("{member} {member}").as_str()),
            "no COPY {member} in the Dockerfile"
        );
    }
}

#[test]
fn the_image_starts_as_the_task_definition_starts_it() {
    let dockerfile = read("Dockerfile");
    let stage = dockerfile.split(" AS worker\n").nth(1).expect("the stage `worker`");
    let task: Value = serde_json::from_str(&read("taskdefs/worker.taskdef.json")).expect("JSON");
    let container = &task["containerDefinitions"][0];
    let only = |prefix: &str| {
        let found = after(stage, prefix);
        let [only] = found[..] else { panic!("{prefix}: {found:?}") };
        only
    };
    assert_eq!(container["user"], only("USER "));
    assert_eq!(container["entryPoint"], serde_json::from_str::<Value>(only("ENTRYPOINT ")).expect("JSON"));
    assert_eq!(container["command"], serde_json::from_str::<Value>(only("CMD ")).expect("JSON"));
    assert_eq!(container["readonlyRootFilesystem"], true);
    assert!(stage.trim_start().starts_with("COPY --from=build "), "the binary comes before the job");
    let layers = after(stage, "COPY ");
    assert!(
        layers.last().is_some_and(|last| last.contains("${PIPELINE}/")),
        "the job is the last layer: {layers:?}"
    );
}
