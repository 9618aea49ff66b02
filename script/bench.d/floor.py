"""Makes pgbench's script of the messages that one request sends: part of script/bench.

Usage: floor.py MESSAGES SCRIPT PARAMETERS [UNIQUE]
MESSAGES has a message a line, followed by its parameters. Ids that the request made, and parameters that contain
UNIQUE, become values that no other transaction has. The scope, the first message, goes out in one pipeline, as the API
sends it in one message. PARAMETERS receives pgbench's options that define the others, one a line.
"""

import re
import sys

PARAMETER = re.compile(r"\$(\d+) = (NULL|'(?:[^']|'')*')(?:, |$)")
MADE_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
# The same in all statements of a transaction, and never twice.
NEW = {
    "id": "('01900000-0000-7000-8000-' || lpad(to_hex((:one)::bigint), 12, '0'))::uuid",
    "text": "('bench-' || (:one)::bigint)",
}

messages_file, script_file, parameters_file, *unique = sys.argv[1:]
known_ids = set()
messages = []
for line in open(messages_file, encoding="utf-8").read().splitlines():
    if line.startswith("parameters: "):
        messages[-1][1].extend(PARAMETER.findall(line.removeprefix("parameters: ")))
    else:
        messages.append((line.replace("\\n", "\n"), []))
scope = messages[0][0]
known_ids.update(MADE_ID.findall(scope))

definitions, statements = [], []
for number, (sql, parameters) in enumerate(messages):
    values = {}
    for index, quoted in parameters:
        value = quoted[1:-1].replace("''", "'")
        name = f"p{number}_{index}"
        if quoted == "NULL":
            values[index] = "NULL"
        elif unique and MADE_ID.fullmatch(value) and value not in known_ids:
            values[index] = NEW["id"]
        elif unique and unique[0] in value:
            values[index] = NEW["text"]
        else:
            values[index] = f":{name}"
            definitions.append(f"--define={name}={value}")
    statements.append(re.sub(r"\$(\d+)", lambda match: values.get(match[1], match[0]), sql))

first = ";\n".join(statement.strip() for statement in statements[0].split("; "))
lines = [f"\\startpipeline\n{first};\n\\endpipeline", *(f"{statement};" for statement in statements[1:])]
if unique:
    lines.insert(0, "\\set one random(1, 281474976710655)")
open(script_file, "w", encoding="utf-8").write("\n".join(lines) + "\n")
open(parameters_file, "w", encoding="utf-8").write("".join(f"{line}\n" for line in definitions))
