# shellcheck shell=bash
# What the scripts of this directory share. Sourcing it moves to the repository root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PWD/target/tools/bin:$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$*"; exit 1; }

# stage NAME COMMAND...: runs one step under a heading and adds its duration to $STAGES.
STAGES=""
stage() {
  local name=$1 started=$SECONDS
  shift
  printf '\n== %s\n' "$name" >&2
  "$@"
  STAGES+=$(printf '%6d s  %s' $((SECONDS - started)) "$name")$'\n'
}
print_stages() { printf '\n%s: passed in %d s\n%s' "${0##*/}" "$SECONDS" "$STAGES" >&2; }

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }
can_apt() { command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }; }
apt_do() { # silent unless it fails
  local output
  if ! output=$(as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=1 "$@" 2>&1); then
    printf '%s\n' "$output" >&2
    return 1
  fi
}
apt_install() { apt_do install -y --no-install-recommends "$@"; }

# need_apt PACKAGE COMMAND: the command is there, installed from the package when it can be.
need_apt() {
  if command -v "$2" >/dev/null; then return; fi
  if can_apt && apt_do update && apt_install "$1"; then return; fi
  die "$2 not found: install it (Debian package $1)"
}

need_cargo() {
  command -v cargo >/dev/null || die "cargo not found: install Rust from https://rustup.rs and run this again"
  need_apt build-essential cc
}

# need_cargo_tool NAME VERSION [OPTION...]: a program of that version, built into target/tools when absent.
need_cargo_tool() {
  if [[ "$("$1" --version 2>/dev/null)" == *"$2"* ]]; then return; fi
  say "building $1 $2 (minutes, once per clone)"
  cargo install --quiet --locked --root target/tools --version "$2" "${@:3}" "$1"
}

# need_venv REQUIREMENT: a Python package of exactly that version (NAME==VERSION) in target/venv.
need_venv() {
  local stamp=target/venv/installed
  if grep -qxF "$1" "$stamp" 2>/dev/null; then return; fi
  need_apt python3 python3
  mkdir -p target
  if [ ! -x target/venv/bin/pip ] && ! python3 -m venv --clear target/venv >/dev/null; then
    if ! { can_apt && apt_do update && apt_install python3-venv && python3 -m venv --clear target/venv; }; then
      die "python3 cannot make virtual environments: install it whole (Debian package python3-venv)"
    fi
  fi
  target/venv/bin/pip install --quiet --disable-pip-version-check "$1"
  printf '%s\n' "$1" >>"$stamp"
}

# need_postgres: sets PG_BIN to the newest PostgreSQL server binaries on the host, 15 or later.
need_postgres() {
  PG_BIN=$(find_postgres)
  if [ -z "$PG_BIN" ]; then
    can_apt || die "PostgreSQL 15 or later not found: install its server (Debian package postgresql-15, Homebrew postgresql@17)"
    install_postgres
    PG_BIN=$(find_postgres)
    [ -n "$PG_BIN" ] || die "the package archive offers no PostgreSQL 15 or later: install its server by hand"
  else
    upgrade_postgres
  fi
  export PG_BIN
}

find_postgres() {
  local dir major best="" best_major=14
  for dir in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql@*/bin \
    "$(dirname "$(readlink -f "$(command -v postgres || echo /nowhere/postgres)")")"; do
    if ! [ -x "$dir/postgres" ] || ! [ -x "$dir/initdb" ]; then continue; fi
    major=$("$dir/postgres" --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/')
    if [ "$major" -gt "$best_major" ]; then best=$dir best_major=$major; fi
  done
  printf '%s' "$best"
}

# Installs the newest server the archive has. Debian would start a system-wide cluster with it, which
# nobody here uses: postgresql-common is told not to before the server package arrives.
install_postgres() {
  local package conf=/etc/postgresql-common/createcluster.conf
  apt_do update
  package=$(apt-cache search --names-only '^postgresql-[0-9]+$' | cut -d' ' -f1 | sort -V | tail -1)
  [ -n "$package" ] || die "the package archive offers no PostgreSQL server: install version 15 or later by hand"
  say "installing $package"
  if ! [ -e "$conf" ]; then
    apt_install postgresql-common
    as_root sed -i -E 's/^#? *create_main_cluster *=.*/create_main_cluster = false/' "$conf"
  fi
  apt_install "$package"
  mkdir -p target && date >target/postgres-checked
}

# Row-security fixes come in minor releases, so an installation from the archive is kept at the newest one.
# Looks once a day, never when a system-wide cluster runs (the upgrade would restart it), and goes on
# with what is installed when the archive cannot be reached.
upgrade_postgres() {
  local stamp=target/postgres-checked package
  if [ -n "$(find "$stamp" -mtime -1 2>/dev/null)" ]; then return; fi
  package=$(dpkg -S "$PG_BIN/postgres" 2>/dev/null | cut -d: -f1) || return 0
  mkdir -p target && date >"$stamp"
  if ! can_apt || ! apt_do -o Acquire::http::Timeout=10 update 2>/dev/null; then return; fi
  if ! apt-get -s install --only-upgrade "$package" 2>/dev/null | grep -q "^Inst $package "; then return; fi
  if pg_lsclusters -h 2>/dev/null | grep -q online; then
    say "a newer $package is available; upgrade it when its running cluster may restart"
  else
    say "upgrading $package to its newest minor release"
    apt_do install -y --only-upgrade "$package" || say "$package could not be upgraded; going on with the installed one"
  fi
}

# need_faults: what the tests of faults stand around the program, or do to it.
need_faults() {
  need_apt clamav-daemon clamd # the real scanner, with signatures of the tests' own
  need_apt redis-server redis-server # what processes share
  need_apt haproxy haproxy     # a balancer before several processes
  need_apt pgbouncer pgbouncer
  need_apt faketime faketime # clocks that are wrong
}

# need_test_cluster: starts the throw-away cluster unless it runs; one started here is stopped at exit.
need_test_cluster() {
  if ! script/test-cluster running; then
    trap 'script/test-cluster stop' EXIT
    script/test-cluster start
  fi
}
