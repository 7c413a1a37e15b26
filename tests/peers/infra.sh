# What checks infra/, docs/ and the dependencies: cfn-lint, checkov and policy_sentry by pip, actionlint by Go, cargo-deny
# by cargo. Installed once, into the cache.
# shellcheck shell=bash disable=SC2154 # root, cache, run_dir, missed: set by tests/run

actionlint_version=1.7.12
cargo_deny_version=0.18.9
# Set when they are there.
infra_python=
checkov=
actionlint=
cargo_deny=

install_infra() {
  infra_python=$(python_with "$root/tests/infra/requirements.txt") || miss "infra/" "no Python environment: see above"
  checkov=$(python_with "$root/tests/infra/requirements-checkov.txt") || miss "checkov" "no Python environment: see above"
  [[ -z $checkov ]] || checkov=$(dirname "$checkov")/checkov
  install_actionlint || miss "actionlint" "no Go on the PATH that can build it"
  install_cargo_deny || miss "cargo deny" "cargo could not build it"
}

install_actionlint() {
  local made=$cache/tools/actionlint-$actionlint_version
  if [[ ! -x $made/actionlint ]]; then
    have go || return 1
    say "installing actionlint (once)"
    GOBIN=$made go install "github.com/rhysd/actionlint/cmd/actionlint@v$actionlint_version" >&2 || return 1
  fi
  actionlint=$made/actionlint
}

install_cargo_deny() {
  local made=$cache/tools/cargo-deny-$cargo_deny_version
  if [[ ! -x $made/bin/cargo-deny ]]; then
    say "installing cargo deny (once, some minutes)"
    CARGO_TARGET_DIR=$made/build cargo install --quiet --debug --locked --root "$made" --version "$cargo_deny_version" cargo-deny \
      >&2 || return 1
    rm -rf "$made/build"
  fi
  cargo_deny=$made/bin/cargo-deny
}

# pytest's last line, as cargo's test runner would write it, so that it counts in the sum.
check_infra() {
  [[ -n $infra_python && -n $checkov ]] || return 0 # Named already.
  local status=0
  LANDFALL_TEST_CHECKOV=$checkov "$infra_python" -m pytest -c "$root/tests/infra/pytest.ini" "$root/tests/infra" \
    2>&1 | tee "$run_dir/infra.log" || status=$?
  awk '
    /^[0-9]+ (passed|failed|skipped|error).* in [0-9.]+s/ {
      for (i = 2; i <= NF; i++) {
        if ($i ~ /^passed/) passed += $(i - 1)
        if ($i ~ /^(failed|error)/) failed += $(i - 1)
      }
    }
    END { printf "test result: infra. %d passed; %d failed;\n", passed, failed }' "$run_dir/infra.log" \
    | tee -a "$run_dir/tests.log"
  return "$status"
}

check_docs() {
  python3 "$root/docs/costs.py" --check || return 1
  [[ -z $actionlint ]] || "$actionlint" "$root"/docs/examples/*.yml
}

check_dependencies() {
  [[ -z $cargo_deny ]] || "$cargo_deny" --locked check --hide-inclusion-graph licenses bans sources
}
