"""What script/test-prometheus does."""

import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

FULL = sys.argv[1:] == ["--full"]
# Of every duration in the rules, with --full: five minutes become ten seconds.
DIVISOR = 30
# Of any wait, on a busy machine.
LIMIT = 180
# No file and no request is known that makes the program panic; promtool fires this one.
NOT_CAUSED = {"Ally360Panic"}

REPOSITORY = pathlib.Path.cwd()
DEPLOY = REPOSITORY / "deploy"
PROGRAM = REPOSITORY / "target/debug/ally360"
DIRECTORY = REPOSITORY / "target/prometheus"
COMPANY = "550e8400-e29b-41d4-a716-446655440000"

processes = []
# No proxies: all of it is near.
web = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def say(text):
    print(f"test-prometheus: {text}", file=sys.stderr)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


# Nobody listens there.
CLOSED = f"127.0.0.1:{free_port()}"


def wait_for(what, condition):
    deadline = time.monotonic() + LIMIT
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            sys.exit(f"test-prometheus: {what} took longer than {LIMIT} s; see {DIRECTORY}")
        time.sleep(0.3)


def request(method, url, body=None, headers=None):
    """Status and content; 0 when there is no answer."""
    asked = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    try:
        with web.open(asked, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read()
    except OSError:
        return 0, b""


class Program:
    """An installation of its own with everything in one process."""

    def __init__(self, name, files=None, **settings):
        self.data = DIRECTORY / name
        self.metrics = f"127.0.0.1:{free_port()}"
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ["HOME"],
            "ALLY360_PG_BIN": os.environ["PG_BIN"],
            "ALLY360_DATA_DIR": str(self.data),
            "ALLY360_LISTEN": "127.0.0.1:0",
            "ALLY360_METRICS_LISTEN": self.metrics,
            **settings,
        }
        subprocess.run([PROGRAM, "demo", "seed"], env=environment, check=True, capture_output=True)
        self.log = open(DIRECTORY / f"{name}.log", "w")

        def limited():
            if files:
                resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

        self.process = subprocess.Popen(
            [PROGRAM, "serve"], env=environment, stdout=subprocess.PIPE, stderr=self.log, text=True, preexec_fn=limited
        )
        processes.append(self.process)
        line = self.process.stdout.readline()
        if not line.startswith("ready "):
            sys.exit(f"test-prometheus: {name} did not become ready: see {self.log.name}")
        self.url = line.split()[1]
        form = urllib.parse.urlencode({"username": "user@example.com", "password": "password123"}).encode()
        status, answer = request("POST", f"{self.url}/auth/login", form)
        assert status == 200, answer
        self.headers = {
            "Authorization": f"Bearer {json.loads(answer)['access_token']}",
            "X-Company-ID": COMPANY,
            "Content-Type": "application/json",
        }

    def call(self, method, path, body=None):
        body = None if body is None else json.dumps(body).encode()
        status, answer = request(method, self.url + path, body, self.headers)
        return json.loads(answer) if 200 <= status < 300 and answer else None

    def upload(self):
        asked = {"filename": "a.txt", "content_type": "text/plain", "module": "documents"}
        upload = self.call("POST", "/files/upload/presign", asked)
        if upload:
            request("PUT", upload["upload_url"], b"text", upload["headers"])
            self.call("POST", f"/files/{upload['file_id']}/complete", {})

    def forget_password(self):
        self.call("POST", "/auth/request-password-reset", {"email": "user@example.com"})

    def sql(self, statement):
        password = (self.data / "postgres/ally360.password").read_text().strip()
        psql = ["psql", "-qXv", "ON_ERROR_STOP=1", "-h", self.data / "postgres.run", "-U", "ally_root", "ally_db"]
        subprocess.run([*psql, "-c", statement], env={**os.environ, "PGPASSWORD": password}, check=True)

    def database_processes(self):
        place = os.stat(self.data / "postgres")
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                there = os.stat(entry / "cwd")
            except OSError:
                continue
            if (there.st_dev, there.st_ino) == (place.st_dev, place.st_ino):
                yield int(entry.name)

    def stop(self):
        self.process.terminate()
        assert self.process.wait(60) == 0, f"it did not end cleanly: {self.log.name}"


class Prometheus:
    """Scrapes and evaluates every second."""

    def __init__(self, targets):
        home = DIRECTORY / "prometheus"
        home.mkdir()
        config = (DEPLOY / "prometheus/prometheus.yml").read_text()
        config, intervals = re.subn(r"_interval: 15s", "_interval: 1s", config)
        listed = ", ".join(f'"{target}"' for target in targets)
        config, lists = re.subn(r'targets: \["127\.0\.0\.1:9360"\]', f"targets: [{listed}]", config)
        assert (intervals, lists) == (2, 1), "prometheus.yml has another form"
        (home / "prometheus.yml").write_text(config)
        rules = (DEPLOY / "prometheus/rules.yml").read_text()
        if FULL:
            rules = re.sub(r"\[(\d+)m\]", lambda m: f"[{int(m[1]) * 60 // DIVISOR}s]", rules)
            rules = re.sub(r"for: (\d+)m", lambda m: f"for: {int(m[1]) * 60 // DIVISOR}s", rules)
        (home / "rules.yml").write_text(rules)
        self.alerts = set(re.findall(r"- alert: (\w+)", rules))
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        log = open(DIRECTORY / "prometheus.log", "w")
        command = ["prometheus", "--config.file", home / "prometheus.yml", "--storage.tsdb.path", home / "data"]
        self.process = subprocess.Popen([*command, "--web.listen-address", f"127.0.0.1:{port}"], stdout=log, stderr=log)
        processes.append(self.process)
        wait_for("the start of Prometheus", lambda: request("GET", f"{self.url}/-/ready")[0] == 200)

    def get(self, path, **parameters):
        status, answer = request("GET", f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
        assert status == 200, f"{path} {parameters}: {answer}"
        return json.loads(answer)["data"]

    def value(self, query):
        return [float(series["value"][1]) for series in self.get("query", query=query)["result"]]

    def firing(self):
        return {alert["labels"]["alertname"] for alert in self.get("alerts")["alerts"] if alert["state"] == "firing"}

    def names(self):
        return set(self.get("label/__name__/values"))

    def rules(self):
        return [rule for group in self.get("rules")["groups"] for rule in group["rules"]]


def dashboard():
    panels = json.loads((DEPLOY / "grafana/ally360.json").read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    assert len(queries) > 10, queries
    return [query.replace("$__rate_interval", "1m") for query in queries]


def check(prometheus, targets):
    """Every target is up, every rule and every panel asks for what there is."""
    wait_for("the first scrape", lambda: prometheus.value('up{job="ally360"}') == [1.0] * targets)
    rules = prometheus.rules()
    assert {rule["name"] for rule in rules} == prometheus.alerts
    wait_for("the first evaluation", lambda: all(rule["health"] == "ok" for rule in prometheus.rules()))
    queries = [rule["query"] for rule in rules] + dashboard()
    for query in queries:
        prometheus.get("query", query=query)
    asked = {name for query in queries for name in re.findall(r"\b(?:ally360|process)_[a-z_]+", query)}

    def unknown():
        return asked - prometheus.names()

    deadline = time.monotonic() + LIMIT
    while unknown():
        assert time.monotonic() < deadline, f"rules or dashboard ask for what there is not: {sorted(unknown())}"
        time.sleep(0.5)
    say(f"{targets} processes are up, {len(rules)} rules and {len(queries)} queries ask for {len(asked)} metrics that there are")


def repeatedly(pause, action):
    """Until the returned event is set."""
    ended = threading.Event()

    def loop():
        while not ended.wait(pause):
            action()

    threading.Thread(target=loop, daemon=True).start()
    return ended


def cause_all(prometheus, shop, poor):
    """Each alert by its cause. `poor` has no store, and few files."""
    fired = set()

    def wait_for_alerts(*names):
        wait_for(" and ".join(names), lambda: fired.update(prometheus.firing()) or set(names) <= fired)
        say(f"fired: {', '.join(names)}")

    # Neither store nor Redis answers from the start.
    wait_for_alerts("Ally360StorageUnavailable", "Ally360RedisDown")
    assert fired == {"Ally360StorageUnavailable", "Ally360RedisDown"}, f"without a cause: {fired}"

    running = [repeatedly(1, shop.upload), repeatedly(4, shop.forget_password)]
    shop.sql(
        """insert into ally.jobs (tenant_id, id, queue, name, payload, state, run_at, attempt, worker, started_at, lease_until)
           values (gen_random_uuid(), gen_random_uuid(), 'default', 'test.dead', '{}', 'dead', now(), 1, null, now(), null),
                  (gen_random_uuid(), gen_random_uuid(), 'forgotten', 'test.late', '{}', 'ready', now() - interval '1 hour', 0, null, null, null),
                  (gen_random_uuid(), gen_random_uuid(), 'forgotten', 'test.lost', '{}', 'running', now(), 1, gen_random_uuid(), now(),
                   now() - interval '1 minute')"""
    )
    wait_for_alerts("Ally360DeadJobs", "Ally360QueueStalled", "Ally360WorkerLost")
    wait_for_alerts("Ally360ScannerUnavailable", "Ally360MailUnavailable")
    for ended in running:
        ended.set()

    held = []
    address = poor.url.removeprefix("http://").split(":")

    def open_files():
        try:
            share = prometheus.value(f'process_open_fds{{instance="{poor.metrics}"}} / process_max_fds')
            if share and share[0] < 0.9:
                held.extend(socket.create_connection(address, timeout=5) for _ in range(5))
        except OSError:
            pass

    ended = repeatedly(0.5, open_files)
    wait_for_alerts("Ally360FilesExhausted")
    ended.set()

    crowd = []
    address = shop.url.removeprefix("http://").split(":")

    def connect():
        try:
            crowd.append(socket.create_connection(address, timeout=5))
        except OSError:
            pass

    ended = repeatedly(0.05, connect)
    wait_for_alerts("Ally360LimitHit")
    ended.set()
    for connection in crowd:
        connection.close()

    lock = "begin; lock table ally.brands in access exclusive mode; select pg_sleep(3); commit"
    running = [repeatedly(0, lambda: shop.sql(lock))]
    running += [repeatedly(0.1, lambda: shop.call("GET", "/brands")) for _ in range(4)]
    wait_for_alerts("Ally360Slow")
    for ended in running:
        ended.set()

    stopped = list(shop.database_processes())
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    ended = repeatedly(0.1, lambda: shop.call("GET", "/health/ready"))
    wait_for_alerts("Ally360DatabaseDown", "Ally360Errors")
    ended.set()
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)

    for connection in held:
        connection.close()
    shop.stop()
    poor.stop()
    wait_for_alerts("Ally360Down", "Ally360QueueUnwatched")
    left = prometheus.alerts - fired
    assert left == NOT_CAUSED, f"not fired: {left}"
    say(f"{len(fired)} of {len(prometheus.alerts)} alerts fired by their causes; {', '.join(left)} is left to promtool")


def main():
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    DIRECTORY.mkdir(parents=True)
    host, port = CLOSED.split(":")
    # Neither scanner nor mail server nor Redis is there.
    shop = Program(
        "shop",
        CLAMD_ADDRESS=f"tcp://{CLOSED}",
        EMAIL_SMTP_SERVER=host,
        EMAIL_SMTP_PORT=port,
        EMAIL_USE_TLS="false",
        EMAIL_FROM="ally@example.com",
        REDIS_HOST=host,
        REDIS_PORT=port,
        ALLY360_MAX_CONNECTIONS="60",
        ALLY360_JOB_LEASE_SECONDS="2",
    )
    if not FULL:
        prometheus = Prometheus([shop.metrics])
        shop.upload()
        shop.forget_password()
        shop.call("GET", "/nothing")
        check(prometheus, 1)
        shop.stop()
        return
    poor = Program("poor", files=128, MINIO_HOST=f"http://{host}", MINIO_PORT=port, MINIO_ACCESS_KEY="a", MINIO_SECRET_KEY="s")
    prometheus = Prometheus([shop.metrics, poor.metrics])
    cause_all(prometheus, shop, poor)


try:
    main()
finally:
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait()
