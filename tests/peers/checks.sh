# What tests/run checks, and the sum that it ends with.
# shellcheck shell=bash disable=SC2154 # root, cache, run_dir, python, missed: set by tests/run

failed_checks=0

# check NAME CMD…: goes on after a failure, so that one run shows all of them.
check() {
  local name=$1
  shift
  say "$name"
  if ! "$@"; then
    say "FAILED: $name"
    failed_checks=$((failed_checks + 1))
  fi
}

lint_shell() {
  [[ -n $python ]] || return 0 # Named already: without Python there is no shellcheck.
  "$(dirname "$python")/shellcheck" -x tests/run tests/peers/*.sh bench/image-size .ci/run
}

lint_dockerfile() {
  [[ -n $python ]] || return 0 # As above.
  "$(dirname "$python")/hadolint" Dockerfile
}

run_tests() {
  # The tests start the real binaries, so these are built first and in the same build.
  cargo build --locked --workspace --bins || return 1
  # Most of the peers' tests wait for sessions and timeouts: more of them than cores at a time.
  RUST_TEST_THREADS=${RUST_TEST_THREADS:-4} cargo test --locked --workspace --no-fail-fast 2>&1 | tee "$run_dir/tests.log"
}

# The runner's own lines, added up: "test result: ok. 12 passed; 0 failed; …".
sum_up() {
  awk -v extra="$failed_checks" '
    /^test result:/ {
      for (i = 1; i < NF; i++) {
        if ($(i + 1) == "passed;") passed += $i
        if ($(i + 1) == "failed;") failed += $i
      }
    }
    END {
      # A check that failed without a failed test (a format, a lint, a build) must show in the sum.
      if (extra > 0 && failed == 0) failed = extra
      printf "%d passed, %d failed\n", passed, failed
      exit failed > 0
    }' "$run_dir/tests.log"
}

check_all() {
  if [[ ${CI:-} == true ]]; then
    export CARGO_TARGET_DIR=$cache/target
  fi
  : >"$run_dir/tests.log"
  check "cargo fmt --check" cargo fmt --all --check
  check "shellcheck" lint_shell
  check "hadolint" lint_dockerfile
  check "docs" check_docs
  check "cargo deny" check_dependencies
  check "infra" check_infra
  check "cargo clippy" cargo clippy --locked --workspace --all-targets -- -D warnings
  check "cargo test" run_tests
  local name
  for name in ${missed[@]+"${missed[@]}"}; do
    printf 'not tested: %s\n' "$name"
  done
  # "test name ... ignored, why" is a skip too.
  sed -n 's/^test \(.*\) \.\.\. ignored\(.*\)$/not tested: \1 (ignored\2)/p' "$run_dir/tests.log"
  sum_up
}
