"""Uploads per second through the whole pipeline, and of bare PUTs: part of script/bench.

Usage: uploads.py URL TOKEN COMPANY FILES CLIENTS
Prints lines of a kind of file, files per second until ready, and bare PUTs per second.
"""

import http.client
import json
import os
import struct
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from threading import local
from urllib.parse import urlsplit

SIZE = 100_000
URL, TOKEN, COMPANY = sys.argv[1:4]
FILES, CLIENTS = int(sys.argv[4]), int(sys.argv[5])
HEADERS = {"Authorization": f"Bearer {TOKEN}", "X-Company-ID": COMPANY, "Content-Type": "application/json"}
connections = local()


def call(method, url, body=None, headers=None):
    """One request on this thread's connection to the host; the body of a successful answer."""
    parts = urlsplit(url)
    kept = connections.__dict__
    connection = kept.get(parts.netloc) or http.client.HTTPConnection(parts.netloc, timeout=60)
    kept[parts.netloc] = connection
    connection.request(method, url[len(f"http://{parts.netloc}"):], body, headers or {})
    response = connection.getresponse()
    answer = response.read()
    if response.status >= 300:
        sys.exit(f"{method} {parts.path}: {response.status} {answer[:300]!r}")
    return answer


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def picture():
    """A PNG of 640 x 480 with some noise, filled up to its size by a comment."""
    rows = bytearray()
    for y in range(480):
        noise = os.urandom(80)
        row = bytearray((x // 3 + y // 4) & 0xFF for x in range(640))
        for i, byte in enumerate(noise):
            row[i * 8] ^= byte & 3
        rows += b"\0" + row
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 640, 480, 8, 0, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(rows), 1))
    end = chunk(b"IEND", b"")
    comment = b"Comment\0" + os.urandom(16).hex().encode()
    fill = SIZE - len(head) - len(body) - len(end) - 12 - len(comment)
    assert fill >= 0, "the picture is too large"
    return head + chunk(b"tEXt", comment + b" " * fill) + body + end


def text():
    return os.urandom(SIZE // 2).hex().encode()


def presign(name, kind, content):
    wish = {"filename": name, "content_type": kind, "module": "documents", "size": len(content)}
    return json.loads(call("POST", f"{URL}/files/upload/presign", json.dumps(wish), HEADERS))


def put(upload, content):
    call("PUT", upload["upload_url"], content, upload["headers"])


def ready(file_id):
    while True:
        status = json.loads(call("GET", f"{URL}/files/{file_id}", None, HEADERS))["status"]
        if status == "ready":
            return
        if status not in ("pending", "uploaded", "scanning"):
            sys.exit(f"a file ended {status}")
        time.sleep(0.1)


def rate(work, items):
    begun = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        done = list(pool.map(work, items))
    return done, len(done) / (time.monotonic() - begun)


for label, name, kind, make in (
    ("text", "notas.txt", "text/plain", text),
    ("picture", "foto.png", "image/png", picture),
):
    contents = [make() for _ in range(FILES)]

    def upload(content):
        signed = presign(name, kind, content)
        put(signed, content)
        ready(signed["file_id"])
        return signed

    uploads, whole = rate(upload, contents)
    # Once more to the same addresses: stored, and ignored.
    _, bare = rate(lambda pair: put(*pair), list(zip(uploads, contents)))
    print(label, f"{whole:.1f}", f"{bare:.1f}", flush=True)
