#!/usr/bin/env python3
"""Keeps the scripts of host/ embedded, byte for byte, in the SSM documents of template.yaml.

    host/embed.py           writes them into the template
    host/embed.py --check   changes nothing; exits 1 and says which one differs

A document's step holds one block scalar whose first line is the script's. The block is found by its document's logical id.
"""
import pathlib
import re
import sys

HOST = pathlib.Path(__file__).resolve().parent
TEMPLATE = HOST.parent / "template.yaml"
SCRIPTS = {"PrepareHostDocument": "prepare-host.sh", "ProbeHostDocument": "probe-host.sh", "TendHostDocument": "tend-host.sh"}
SIZE_MAX_BYTES = 40_000  # a document may have 64 KB, with its parameters and their values


def block(template, logical_id):
    """(start, end, indent) of the lines of the one block scalar below `runCommand:` of a document."""
    lines = template.splitlines(keepends=True)
    at = lines.index(f"  {logical_id}:\n")
    end = next((i for i in range(at + 1, len(lines)) if re.match(r"  [A-Za-z]|[A-Za-z]|  # ----", lines[i])), len(lines))
    start = next(i for i in range(at, end) if lines[i].strip() == "runCommand:") + 1
    if lines[start].strip() != "- |":
        raise SystemExit(f"{logical_id}: runCommand must hold one literal block, '- |'")
    indent = len(lines[start]) - len(lines[start].lstrip()) + 2
    start += 1
    stop = start
    while stop < end and (not lines[stop].strip() or lines[stop].startswith(" " * indent)):
        stop += 1
    while stop > start and not lines[stop - 1].strip():
        stop -= 1
    return sum(map(len, lines[:start])), sum(map(len, lines[:stop])), indent


def indented(script, indent):
    return "".join((" " * indent + line if line.strip() else line) for line in script.splitlines(keepends=True))


def refuse_what_cannot_be_embedded(name, script):
    if "{{" in script:
        raise SystemExit(f"host/{name} has two opening braces together, which SSM takes for a parameter")
    if not script.endswith("\n") or script.endswith("\n\n") or "\t" in script or "\r" in script:
        raise SystemExit(f"host/{name} must end with one line break and hold no tab and no carriage return")
    if any(line != line.rstrip() for line in script.splitlines()):
        raise SystemExit(f"host/{name} has spaces at the end of a line")
    if len(script.encode()) > SIZE_MAX_BYTES:
        raise SystemExit(f"host/{name} is larger than {SIZE_MAX_BYTES} bytes")


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        raise SystemExit(__doc__)
    template = TEMPLATE.read_text(encoding="utf-8")
    fresh = template
    differ = []
    for logical_id, name in SCRIPTS.items():
        script = (HOST / name).read_text(encoding="utf-8")
        refuse_what_cannot_be_embedded(name, script)
        start, end, indent = block(fresh, logical_id)
        text = indented(script, indent)
        if fresh[start:end] != text:
            differ.append(name)
        fresh = fresh[:start] + text + fresh[end:]
    if check and differ:
        raise SystemExit(f"template.yaml does not hold host/{', host/'.join(differ)} as it is: run host/embed.py")
    if not check and differ:
        TEMPLATE.write_text(fresh, encoding="utf-8")
        print("embedded", ", ".join(differ))


main()
