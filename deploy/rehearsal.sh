# shellcheck shell=bash
# What the rehearsals share: a directory that goes with them, checks, a PostgreSQL of their own.

umask 022
work=$(mktemp -d "${TMPDIR:-/tmp}/ally360-rehearsal-XXXXXX")
chmod 711 "$work"
cleanup=() # commands for the end, last one first

end() {
  local i
  for ((i = ${#cleanup[@]} - 1; i >= 0; i--)); do eval "${cleanup[i]}" >/dev/null 2>&1 || true; done
  rm -rf "$work"
}
trap end EXIT

now() { date +%s%3N; }
elapsed() { echo $(($(now) - $1)); } # milliseconds

fails() { ! "$@" 2>/dev/null; }
# check CLAIM COMMAND...
check() {
  local claim=$1
  shift
  "$@" || die "not so: $claim"
  say "ok: $claim"
}

# PostgreSQL refuses root: there it runs as `postgres`.
as_postgres() { if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --init-groups "$@"; else "$@"; fi; }

# make_postgres DIRECTORY: an empty cluster, reached by password over TCP.
make_postgres() {
  mkdir -p "$1"
  printf 'super' >"$1/password"
  if [ "$(id -u)" = 0 ]; then chown -R postgres: "$1"; fi
  as_postgres "$PG_BIN/initdb" --no-sync -A scram-sha-256 -U postgres --pwfile="$1/password" -E UTF8 --locale=C.UTF-8 \
    -D "$1/data" >/dev/null
}

# run_postgres DIRECTORY PORT [OPTION...]: starts the cluster there.
run_postgres() {
  local dir=$1 port=$2
  shift 2
  as_postgres "$PG_BIN/pg_ctl" start -s -w -t 120 -l "$dir/log" -D "$dir/data" \
    -o "-c listen_addresses=127.0.0.1 -c port=$port -c unix_socket_directories=$dir $*" || {
    cat "$dir/log" >&2
    die "PostgreSQL did not start"
  }
  cleanup+=("as_postgres $PG_BIN/pg_ctl stop -s -m immediate -D $dir/data")
  export PGHOST=127.0.0.1 PGPORT=$port PGUSER=postgres PGPASSWORD=super
}

start_postgres() {
  make_postgres "$1"
  run_postgres "$@"
}

superuser() { "$PG_BIN/psql" -X -q -v ON_ERROR_STOP=1 -d "${PGDATABASE:-postgres}" "$@"; }
