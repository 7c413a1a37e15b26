# The Python environment: DuckDB, pyarrow and Spark as judges of the output, ministack and moto as S3 servers.
# shellcheck shell=bash disable=SC2154,SC2034 # root, cache: from tests/run; python: for it

# Sets `python`.
install_python() {
  python=$(python_with "$root/tests/peers/python/requirements.txt")
}

# python_with REQUIREMENTS: the Python of an environment that has them. A finished environment carries a stamp, so that an
# interrupted install is begun again.
python_with() {
  local version venv
  version=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])') || return 1
  venv=$cache/python-$version-$(cksum <"$1" | tr -s ' ' '-')
  if [[ ! -f $venv/complete ]]; then
    say "installing the Python environment of ${1#"$root"/} (once)"
    rm -rf "$venv"
    python3 -m venv "$venv" || return 1
    "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-input -r "$1" >&2 || return 1
    touch "$venv/complete"
  fi
  printf '%s\n' "$venv/bin/python"
}

# offer_spark: Spark runs on Java. Sets LANDFALL_TEST_SPARK to the Python that starts it.
offer_spark() {
  if [[ -z $python ]]; then
    miss "Spark" "no Python environment: see above"
  elif ! have java; then
    miss "Spark" "no java on the PATH"
  else
    export LANDFALL_TEST_SPARK=$python
  fi
}
