# Real containers without a Docker engine: podman runs what ministack's ECS asks for, buildah builds the image, and
# Debian's docker-registry on loopback takes it. A ministack of their own: in the others' no container ever starts.
# shellcheck shell=bash disable=SC2154,SC2034 # root, cache, run_dir, python: set by tests/run

container_tools=(podman runc buildah catatonit docker-registry)
# What the Dockerfile's runtime image is made of, and the worker's libz, which is a shared one where tests are built.
base_packages=(base-files ca-certificates libc6 libgcc-s1 netbase tzdata zlib1g)
# Set when the base image is there.
container_base=

lacking_tools() {
  local tool
  for tool in "${container_tools[@]}"; do
    have "$tool" || printf '%s ' "$tool"
  done
}

# Sets `container_base`; says what is missing.
install_containers() {
  local lacking
  lacking=$(lacking_tools)
  if [[ $(id -u) != 0 ]]; then
    say "real containers are started as root here: run tests/run as root, on Linux"
    return 1
  fi
  if [[ -n $lacking ]] && have apt-get; then
    say "installing $lacking"
    # shellcheck disable=SC2086 # words
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $lacking; } >&2 ||
      say "apt could not install $lacking"
    lacking=$(lacking_tools)
  fi
  if [[ -n $lacking ]]; then
    say "missing: $lacking(install them, or run where apt-get can)"
    return 1
  fi
  make_base || { say "no base image: it is made of Debian's packages, by apt-get download and dpkg-deb"; return 1; }
}

# The base image is one that no machine without a registry can pull, so its like is unpacked from the same Debian
# packages: a C library, certificates, time zones, and no shell. They are this system's, because the worker that goes on
# top was linked here; another C library makes another image.
make_base() {
  local version made scratch
  version=$(dpkg-query --show --showformat='${Version}' libc6) || return 1
  made=$cache/base-$version.tar
  if [[ ! -f $made ]]; then
    say "making the base image (once)"
    scratch=$(mktemp -d "$cache/base.XXXXXX") || return 1
    if ! unpack_base "$scratch" >&2 || ! tar -C "$scratch/root" -cf "$scratch/base.tar" .; then
      rm -rf "$scratch"
      return 1
    fi
    mv "$scratch/base.tar" "$made"
    rm -rf "$scratch"
  fi
  container_base=$made
}

# unpack_base SCRATCH: the packages' files in SCRATCH/root, and what their scripts would have made.
unpack_base() {
  local tree=$1/root package
  mkdir "$tree" "$1/packages" && chmod 0755 "$tree" || return 1
  download_packages "$1/packages" || { apt-get update -q && download_packages "$1/packages"; } || return 1
  for package in "$1"/packages/*.deb; do
    dpkg-deb --extract "$package" "$tree" || return 1
  done
  cat "$tree"/usr/share/ca-certificates/mozilla/*.crt >"$tree/etc/ssl/certs/ca-certificates.crt" || return 1
  printf '%s\n' 'root:x:0:0:root:/root:/sbin/nologin' 'nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin' \
    >"$tree/etc/passwd"
  printf '%s\n' 'root:x:0:' 'nonroot:x:65532:' >"$tree/etc/group"
}

download_packages() {
  (cd "$1" && apt-get -q -o APT::Sandbox::User=root download "${base_packages[@]}")
}

# configure_engine DIRECTORY REGISTRY_PORT: files of our own, so that the system's stay as they are, and nothing of ours
# is left in its storage.
configure_engine() {
  mkdir -p "$1"
  cat >"$1/containers.conf" <<CONF
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
events_logfile_path = "$1/events"
lock_type = "file"
tmp_dir = "$1/tmp"
CONF
  cat >"$1/storage.conf" <<CONF
[storage]
driver = "vfs"
graphroot = "$1/storage"
runroot = "$1/run"
CONF
  # What the task definition calls ECR is the registry on loopback.
  cat >"$1/registries.conf" <<CONF
unqualified-search-registries = []
[[registry]]
location = "127.0.0.1:$2"
insecure = true
[[registry]]
prefix = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
location = "127.0.0.1:$2"
insecure = true
CONF
  cat >"$1/registry.yml" <<CONF
version: 0.1
log: { level: warn, accesslog: { disabled: true } }
storage: { filesystem: { rootdirectory: "$1/registry" } }
http: { addr: "127.0.0.1:$2" }
CONF
}

# engine DIRECTORY CMD…: with the files of configure_engine.
engine() {
  local directory=$1
  shift
  CONTAINERS_CONF=$directory/containers.conf CONTAINERS_STORAGE_CONF=$directory/storage.conf \
    CONTAINERS_REGISTRIES_CONF=$directory/registries.conf "$@"
}

# begin_containers MINISTACK REGISTRY
begin_containers() {
  local directory=$run_dir/containers
  configure_engine "$directory" "$2"
  engine "$directory" podman import -q - "$(base_name)" <"$container_base" >"$run_dir/base.log" 2>&1 || {
    tail -n 5 "$run_dir/base.log" >&2
    return 0 # await_containers says that nothing is there.
  }
  spawn registry docker-registry serve "$directory/registry.yml"
  # In a PID namespace of their own, so that every container ends with the run, however it ends; with an init process,
  # which buries the containers' monitors.
  engine "$directory" spawn podman unshare --pid --fork --kill-child --mount-proc \
    catatonit -- podman system service --time=0 "unix://$directory/podman.sock"
  spawn agent "$python" "$root/tests/peers/containers/agent.py" "$directory/agent.sock" "$directory/podman.sock" \
    "http://127.0.0.1:$1"
  await podman 30 test -S "$directory/podman.sock" || return 0
  mkdir -p "$directory/aws"
  spawn ministack-containers env BIND_HOST=127.0.0.1 GATEWAY_PORT="$1" MINISTACK_ACCOUNT_ID=123456789012 \
    LOG_LEVEL=WARNING TMPDIR="$directory/aws" DOCKER_HOST="unix://$directory/agent.sock" MINISTACK_DOCKER_TIMEOUT=150 \
    "$python" -c 'from ministack.app import main; main()'
}

# The name under which the Dockerfile asks for it.
base_name() {
  sed -n 's/^ARG RUNTIME_IMAGE=//p' "$root/Dockerfile"
}

# Whether a container can be started at all: not everywhere where podman is. Without a shell in the image, the loader
# is a program too.
run_a_container() {
  local loader=/lib64/ld-linux-x86-64.so.2
  [[ $(uname -m) != aarch64 ]] || loader=/lib/ld-linux-aarch64.so.1
  podman --url "unix://$run_dir/containers/podman.sock" run --rm --network host --memory 64m --init --read-only \
    --cap-drop all "$(base_name)" "$loader" --version
}

# await_containers MINISTACK REGISTRY
await_containers() {
  local directory=$run_dir/containers
  if await podman 30 run_a_container && await registry 30 port_open "$2" &&
    await agent 30 test -S "$directory/agent.sock" && await ministack-containers 60 port_open "$1" &&
    await ministack-containers 30 create_bucket "$1"; then
    export LANDFALL_TEST_CONTAINERS=http://127.0.0.1:$1
    export LANDFALL_TEST_REGISTRY=127.0.0.1:$2
    export LANDFALL_TEST_ENGINE=$directory
  else
    miss "real containers" "see above"
  fi
}

# Their cgroups would outlive containers that are killed with their namespace.
stop_containers() {
  local socket=$run_dir/containers/podman.sock
  [[ ! -S $socket ]] || timeout 30 podman --url "unix://$socket" rm --all --force --time 0 >/dev/null 2>&1 ||
    say "could not remove every container"
}
