# shellcheck shell=bash
# Closed and open loops on five requests, and what the number of companies and products does: part of script/bench.

levels=(1 16 64 256)
# PostgreSQL of two cores is fastest with few connections: the floor of more clients than these is that of these.
floor_clients=16
people=512

least() { echo "$(($1 < $2 ? $1 : $2))"; }

# The API and its floor at one level. measure_level CASE CLIENTS PATH FLOOR...
measure_level() {
  measure "$1.$2" api load_api "$1" "$2" "$3"
  if [ "$2" -le "$floor_clients" ]; then measure "$1.$2" floor "${@:4}" "$2"; fi
}

# floor_login CLIENTS: hashing alone, as the API does it, in as many threads as it does it in.
floor_login() { target/venv/bin/python script/bench.d/hashes.py "$(least "$1" "$(nproc)")" "$seconds"; }

prepare_load() {
  local product
  product=$(first_product)
  paths=([list]=/products/ [find]=/products/$product [create]=/products [presign]=/files/upload/presign [login]=/auth/login)
  prepare list "/products/"
  prepare find "/products/$product"
  prepare_write create '{"name":"Bench","sku":"bench-unique","price_sale":"1500.00"}' "${paths[create]}"
  prepare_write presign '{"filename":"bench-unique.jpg","content_type":"image/jpeg","module":"products","size":1}' "${paths[presign]}"
  superuser -c "insert into ally.users (id, email, password_hash, first_name, last_name, email_verified_at)
    select gen_random_uuid(), 'bench' || n || '@example.com', password_hash, 'Bench', 'Bench', now()
      from ally.users, generate_series(1, $people) as n where email = 'user@example.com'"
  superuser -c "vacuum analyze"
}

measure_load() {
  local case clients round rounds=3
  local -A paths
  # Writes come last: each presigned URL is a job that looks for its upload from then on.
  local cases=(list find login create presign)
  need_venv matplotlib==3.11.2
  need_venv argon2-cffi==25.1.0
  need_cargo_tool oha 1.16.0
  prepare_load
  for case in "${cases[@]}"; do
    for ((round = 1; round <= rounds; round++)); do
      say "load: $case, round $round of $rounds"
      for clients in "${levels[@]}"; do
        if [ "$case" = login ]; then
          measure_level login "$clients" "${paths[login]}" floor_login
        else
          measure_level "$case" "$clients" "${paths[$case]}" load_pgbench "$case"
        fi
      done
    done
    if [ "$case" = list ]; then measure_open_loop >"$work/open.md"; fi
  done
  printf '## Load\n\nClosed loop, medians of %d rounds of %d s; the floor is pgbench with the same statements and at most %d\n' \
    "$rounds" "$seconds" "$floor_clients"
  printf 'connections, for a sign-in the hashing alone\n\n'
  echo "| | clients | requests/s | of the floor | p50 ms | p99 ms | refused | CPU µs: API | PostgreSQL |"
  echo "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
  : >"$work/load.tsv"
  for case in "${cases[@]}"; do
    for clients in "${levels[@]}"; do level_row "$case" "$clients"; done
  done
  echo
  echo "Resident memory of the API: $(memory VmRSS) after it, $(memory VmHWM) at most since the start."
  cat "$work/open.md"
  target/venv/bin/python script/bench.d/plots.py load "$work/load.tsv" "$work/open.tsv"
}

# A line of the table, and one of the plot's file: case, clients, rate, floor, p50 and p99.
level_row() {
  local api floor
  api=$(medians "$1.$2" api) floor=$(medians "$1.$(least "$2" "$floor_clients")" floor)
  printf '%s %s\n' "$api" "$floor" | awk -v case="$1" -v clients="$2" -v tsv="$work/load.tsv" '{
    good = $1 * (1 - $7)
    printf "| %s | %d | %.0f | %.2f | %.1f | %.1f | %.0f %% | %.0f | %.0f |\n", case, clients, good, good / $8, $2 / 1000, $3 / 1000, 100 * $7, $4, $5
    print case, clients, good, $8, $2 / 1000, $3 / 1000 >> tsv }'
}

# open_loop OPTION...
open_loop() {
  oha --no-tui --output-format json -z "${seconds}s" -c 64 "$@" "${headers[@]}" "$url/products/" >"$work/oha.json" 2>/dev/null
}

# Requests come at their times whether or not the earlier ones were answered, as those of many people do.
measure_open_loop() {
  local peak share rate
  # Of the same client, which takes more of the cores than that of the closed loops.
  peak=$(open_loop && python3 -c 'import json, sys; print(int(json.load(sys.stdin)["summary"]["requestsPerSec"]))' <"$work/oha.json")
  printf '\nOpen loop on the list, at shares of the %d requests/s that the same client reached without pauses\n\n' "$peak"
  echo "| offered | requests/s | answered | p50 ms | p99 ms |"
  echo "|---:|---:|---:|---:|---:|"
  : >"$work/open.tsv"
  for share in 25 50 75 90 120; do
    rate=$((peak * share / 100))
    settle
    open_loop -q "$rate" --latency-correction
    python3 - "$share" "$work/oha.json" "$work/open.tsv" <<'PY'
import json, sys
share, source, tsv = sys.argv[1:]
result = json.load(open(source))
times = result["latencyPercentiles"]
good = result["statusCodeDistribution"].get("200", 0) / sum(result["statusCodeDistribution"].values())
rate = result["summary"]["requestsPerSec"]
print(f"| {share} % | {rate:.0f} | {good:.1%} | {times['p50'] * 1e3:.1f} | {times['p99'] * 1e3:.1f} |")
print(share, rate, times["p50"] * 1e3, times["p99"] * 1e3, file=open(tsv, "a"))
PY
  done
}

# companies N: so many there are, each with ten products; rows are written past triggers, of which none is measured.
companies() {
  superuser -c "set session_replication_role = replica; set row_security = off; set search_path = ally, public;
    insert into companies (tenant_id, name, nit, nit_check_digit, phone_number)
      select id, 'Empresa ' || nit, nit, nit_check_digit(nit), '+573001234567'
        from (select md5('company ' || n)::uuid as id, (800000000 + n)::text as nit from generate_series(1, $1 - (select count(*)::int from companies)) as n) as new on conflict do nothing;
    insert into products (tenant_id, id, name, sku, price_sale)
      select c.tenant_id, md5('product ' || c.tenant_id || n)::uuid, 'Producto ' || n, 'S-' || n, n * 100
        from companies as c, generate_series(1, 10) as n where not exists (select from products as p where p.tenant_id = c.tenant_id);
    analyze"
}

# products N: so many has the company that is read.
products() {
  superuser -c "set session_replication_role = replica; set row_security = off; set search_path = ally, public;
    insert into products (tenant_id, id, name, sku, price_sale, created_at)
      select '$company', md5('more ' || n)::uuid, 'Producto ' || md5(n::text), 'M-' || n, n % 100000, now() - n * interval '1 second'
        from generate_series((select count(*)::int from products where tenant_id = '$company') + 1, $1) as n;
    analyze"
  superuser -c "vacuum"
}

measure_scale() {
  local size clients=16 product rounds=3
  need_venv matplotlib==3.11.2
  product=$(first_product)
  printf '## Scale\n\n%d clients, medians of %d rounds of %d s; search is for a word that few products have\n\n' "$clients" "$rounds" "$seconds"
  echo "| | list: requests/s | p50 ms | p99 ms | find: requests/s | p50 ms | p99 ms | search: requests/s | p50 ms | p99 ms |"
  echo "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
  : >"$work/scale.tsv"
  for size in 10 1000 10000; do
    companies "$size"
    scale_row "$size companies"
  done
  for size in 10000 1000000; do
    say "scale: making $size products"
    products "$size"
    scale_row "$size products in one"
  done
  target/venv/bin/python script/bench.d/plots.py scale "$work/scale.tsv"
}

scale_row() {
  local case round cells=()
  local -A paths=([list]=/products/ [find]=/products/$product [search]="/products/?search=panela")
  say "scale: $1"
  rm -f "$work"/{list,find,search}.scale.rounds
  for ((round = 1; round <= rounds; round++)); do
    for case in list find search; do measure "$case" scale load_api "$case" "$clients" "${paths[$case]}"; done
  done
  for case in list find search; do
    cells+=("$(medians "$case" scale | awk '{ printf "%.0f | %.1f | %.1f", $1, $2 / 1000, $3 / 1000 }')")
    printf '%s\t%s\t%s\n' "$1" "$case" "$(medians "$case" scale | cut -d' ' -f1-3)" >>"$work/scale.tsv"
  done
  printf '| %s | %s | %s | %s |\n' "$1" "${cells[@]}"
}
