# Shared by the parts of tests/run: words, ports, waiting, and stopping what was started.
# shellcheck shell=bash disable=SC2034 # what is set here, the other parts use

# Found on the way: the environment's Python, the broker's jars, this run's own directory.
python=
kafka_jars=
run_dir=
# Pids that this run started, and what could not be set up ("what: why").
pids=()
missed=()

say() {
  printf 'tests/run: %s\n' "$*" >&2
}

have() {
  command -v "$1" >/dev/null 2>&1
}

miss() {
  missed+=("$1 ($2)")
  say "not there: $1 ($2)"
}

# What a compiler, a broker and a Python need from the system, by apt if they are not there and we may.
install_system_packages() {
  local wanted=()
  have cc || wanted+=(build-essential)
  have make || wanted+=(make)
  have perl || wanted+=(perl)
  have java || wanted+=(default-jre-headless)
  have mvn || wanted+=(maven)
  python3 -c 'import ensurepip, venv' 2>/dev/null || wanted+=(python3 python3-venv)
  [[ ${#wanted[@]} -gt 0 ]] || return 0
  if have apt-get && [[ $(id -u) == 0 ]]; then
    say "installing ${wanted[*]}"
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${wanted[@]}"; } \
      >&2 || say "apt could not install ${wanted[*]}: going on without"
  else
    say "missing: ${wanted[*]} (install them, or run as root where apt-get is)"
  fi
}

# N ports that were free a moment ago, all different.
free_ports() {
  "$python" - "$1" <<'PY'
import socket, sys
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(s.getsockname()[1] for s in sockets))
PY
}

# spawn NAME CMD…: runs CMD in the background with its output in $run_dir/NAME.log; it dies with us.
spawn() {
  local name=$1
  shift
  if have setpriv; then
    set -- setpriv --pdeathsig KILL -- "$@"
  fi
  "$@" >"$run_dir/$name.log" 2>&1 </dev/null &
  pids+=("$!")
}

# await NAME SECONDS CMD…: until CMD succeeds; shows the end of NAME's log if it never does.
await() {
  local name=$1 deadline=$((SECONDS + $2))
  shift 2
  until "$@" >>"$run_dir/$name.await" 2>&1; do
    if ((SECONDS >= deadline)); then
      say "$name did not come up; its log ends:"
      tail -n 20 "$run_dir/$name.log" "$run_dir/$name.await" >&2
      return 1
    fi
    sleep 0.2
  done
}

port_open() {
  (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# Their data is ours and temporary: no peer needs to shut down in an orderly way.
stop_peers() {
  local pid
  for pid in ${pids[@]+"${pids[@]}"}; do
    kill -KILL "$pid" 2>/dev/null || true
  done
  for pid in ${pids[@]+"${pids[@]}"}; do
    wait "$pid" 2>/dev/null || true
  done
  if [[ -n ${LANDFALL_TEST_KEEP:-} ]]; then
    say "kept $run_dir"
  else
    rm -rf "$run_dir"
  fi
}
