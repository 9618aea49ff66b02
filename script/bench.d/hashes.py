"""Password checks per second of Argon2id with the API's parameters and nothing else: the floor of a sign-in.

Usage: hashes.py THREADS SECONDS
Prints checks, seconds, and placeholders, as script/bench expects of a client.
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

from argon2.low_level import Type, hash_secret_raw

threads, seconds = int(sys.argv[1]), float(sys.argv[2])
begun = time.monotonic()


def check(_):
    done = 0
    while time.monotonic() - begun < seconds:
        hash_secret_raw(b"password123", b"some-salt-16-byt", time_cost=1, memory_cost=47104, parallelism=1, hash_len=32, type=Type.ID)
        done += 1
    return done


with ThreadPoolExecutor(threads) as pool:
    done = sum(pool.map(check, range(threads)))
print(done, time.monotonic() - begun, "-", "-", 0)
