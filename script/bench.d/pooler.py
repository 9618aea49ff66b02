"""What a transaction with one statement costs as the program sends it: straight to PostgreSQL, with its statement prepared
once, and through PgBouncer in transaction mode, prepared anew. One client, one thing after the other: latencies.

Usage: pooler.py DIRECT_SOCKET POOLER_SOCKET USER DATABASE   (both must trust USER)
"""
import socket
import statistics
import struct
import sys
import time

STATEMENT = b"select relname, relkind, relpages, reltuples from pg_class where relname >= $1 order by relname limit 20"
BEGIN = b"BEGIN READ ONLY; SET LOCAL app.tenant_id = 'a'; SET LOCAL app.user_id = 'b'"


class Connection:
    def __init__(self, path, user, database):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.unread = b""
        body = struct.pack("!i", 196608)
        for word in ("user", user, "database", database):
            body += word.encode() + b"\0"
        body += b"\0"
        self.socket.sendall(struct.pack("!i", len(body) + 4) + body)
        self.until_ready()

    def until_ready(self):
        while True:
            while len(self.unread) >= 5:
                length = struct.unpack("!i", self.unread[1:5])[0] + 1
                if len(self.unread) < length:
                    break
                kind, message, self.unread = self.unread[:1], self.unread[5:length], self.unread[length:]
                if kind == b"E":
                    sys.exit(message.decode(errors="replace"))
                if kind == b"Z":
                    return
            received = self.socket.recv(65536)
            if not received:
                sys.exit("the connection ended")
            self.unread += received

    def ask(self, *messages):
        self.socket.sendall(b"".join(kind + struct.pack("!i", len(body) + 4) + body for kind, body in messages))
        self.until_ready()

    def simple(self, text):
        self.ask((b"Q", text + b"\0"))

    def prepare(self, name):
        self.ask((b"P", name + b"\0" + STATEMENT + b"\0\0\0"), (b"D", b"S" + name + b"\0"), (b"S", b""))

    def execute(self, name):
        bind = b"\0" + name + b"\0" + struct.pack("!hhhi", 1, 1, 1, 1) + b"a" + struct.pack("!hh", 1, 1)
        self.ask((b"B", bind), (b"E", b"\0" + struct.pack("!i", 0)), (b"C", b"P\0"), (b"S", b""))


def cached(connection, _):
    connection.simple(BEGIN)
    connection.execute(b"kept")
    connection.simple(b"ROLLBACK")


def anew(connection, number):
    name = b"sqlx_s_%d" % number
    connection.simple(b"BEGIN; DEALLOCATE ALL; COMMIT; " + BEGIN)
    connection.prepare(name)
    connection.execute(name)
    connection.simple(b"ROLLBACK")


def measure(transaction, connection, count=500):
    times = []
    for number in range(1, count + 1):
        began = time.perf_counter()
        transaction(connection, number)
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e6


direct_path, pooler_path, user, database = sys.argv[1:]
direct, again, pooled = (Connection(path, user, database) for path in (direct_path, direct_path, pooler_path))
direct.prepare(b"kept")
ways = {
    "straight, prepared once": lambda: measure(cached, direct),
    "straight, prepared anew": lambda: measure(anew, again),
    "through PgBouncer, prepared anew": lambda: measure(anew, pooled),
}
rounds = [{name: way() for name, way in ways.items()} for _ in range(9)]
for name in ways:
    print(f"| {name} | {statistics.median(r[name] for r in rounds):.0f} |")
