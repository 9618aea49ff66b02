"""What a company that floods does to its neighbours: part of script/bench.

Usage: fairness.py URL WORK ROUNDS SECONDS
Ten companies ask for their products in peace. Then another asks beside them, 50 times as often as each of
them; then as fast as it can. Prints a Markdown row for each, of the neighbours and of the flood, from the
medians of the rounds.
"""

import json
import statistics
import subprocess
import sys
import urllib.request

URL, WORK, ROUNDS, SECONDS = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
NEIGHBOURS, SHARE = 10, 15  # companies, and requests per second of each: less than a user is allowed
CONNECTIONS = 20
TIMES = 50
PATH = "/products?limit=20"

SCRIPT = """
local heads, requests, turn = %s, {}, 0
function init(args)
  for i, head in ipairs(heads) do requests[i] = wrk.format("GET", "%s", head) end
end
function request()
  turn = turn %% #requests + 1
  return requests[turn]
end
%s
function done(summary, latency)
  local errors = summary.errors
  if errors.connect + errors.read + errors.write + errors.timeout > 0 then error("requests failed") end
  print(summary.requests / summary.duration * 1e6, latency:percentile(50), latency:percentile(99),
    100 * errors.status / summary.requests)
end
"""


def call(method, path, body=None, headers=None, form=None):
    data = form.encode() if form else json.dumps(body).encode() if body is not None else None
    kind = "application/x-www-form-urlencoded" if form else "application/json"
    request = urllib.request.Request(URL + path, data, {"Content-Type": kind, **(headers or {})}, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def company(number):
    """A company with its owner and some products; the headers of its requests."""
    email, password = f"fair-{number}@example.com", "a long phrase of the bench"
    profile = {"first_name": "Fair", "last_name": str(number), "phone_number": "+573001234567"}
    call("POST", "/auth/register", {"email": email, "password": password, "profile": profile})
    token = call("POST", "/auth/login", form=f"username={email}&password={password.replace(' ', '+')}")
    # Each is somewhere else, as the address is counted too.
    headers = {"Authorization": "Bearer " + token["access_token"], "X-Forwarded-For": f"10.9.0.{number + 1}"}
    new = {"name": f"Fair {number}", "nit": str(900100000 + number), "phone_number": "+573001234567"}
    headers["X-Company-ID"] = call("POST", "/company", new, headers)["id"]
    for sku in range(25):
        product = {"name": f"Product {sku}", "sku": f"SKU-{sku}", "price_sale": "1500.00", "price_base": "1000.00"}
        call("POST", "/products", product, headers)
    return headers


def write(name, heads, pause):
    table = "{%s}" % ", ".join("{%s}" % ", ".join(f'["{k}"]="{v}"' for k, v in head.items()) for head in heads)
    # At random, so that connections do not march in step.
    delay = f"function delay() return math.random(0, {2 * pause}) end" if pause else ""
    path = f"{WORK}/{name}.lua"
    with open(path, "w") as file:
        file.write(SCRIPT % (table, PATH, delay))
    return path


def wrk(script, connections, seconds):
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script, URL]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def numbers(process):
    out, _ = process.communicate()
    return [float(number) for number in out.splitlines()[-1].split()]


quiet = [company(number) for number in range(NEIGHBOURS)]
flood = [company(NEIGHBOURS)]
pause = 1000 * CONNECTIONS // (NEIGHBOURS * SHARE)
neighbours = write("neighbours", quiet, pause)
floods = {
    "quiet": None,
    f"one at {TIMES} times its share": (write("flood", flood, 64 * 1000 // (TIMES * SHARE)), 64),
    "one as fast as it can": (write("storm", flood, 0), 64),
}
rounds = {name: ([], []) for name in floods}
numbers(wrk(neighbours, CONNECTIONS, 2))
for _ in range(ROUNDS):
    for name, load in floods.items():
        beside = wrk(*load, SECONDS + 1) if load else None
        rounds[name][0].append(numbers(wrk(neighbours, CONNECTIONS, SECONDS)))
        if beside:
            rounds[name][1].append(numbers(beside))

base = None
for name, (mine, others) in rounds.items():
    rate, p50, p99, failed = (statistics.median(column) for column in zip(*mine))
    base = base or p99
    told = "| - | - |"
    if others:
        theirs = [statistics.median(column) for column in zip(*others)]
        told = f"| {theirs[0]:.0f} | {theirs[3]:.0f} % |"
    print(f"| {name} | {rate:.0f} | {p50:.0f} | {p99:.0f} | {p99 / base:.1f} | {failed:.1f} % {told}")
