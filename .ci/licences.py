#!/usr/bin/env python3
"""Checks that every dependency may be used under a licence that goes with Apache-2.0.

Reads `cargo metadata`, needs nothing but the standard library. A dependency passes when its SPDX expression can be
satisfied by the licences below alone; `/` is the old spelling of `OR`. Exit codes: 0 all pass, 1 some don't, 2 cargo failed.
"""

import json
import re
import subprocess
import sys

# Permissive, and compatible with Apache-2.0. A new one is a decision: read it before it goes in.
ALLOWED = {
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
}


def satisfied(expression):
    """Whether the allowed licences satisfy an SPDX expression (AND binds closer than OR)."""
    tokens = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))

    def alternatives():
        result = conjunction()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            other = conjunction()
            result = result or other
        return result

    def conjunction():
        result = licence()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            other = licence()
            result = result and other
        return result

    def licence():
        if not tokens:
            raise ValueError("it ends too early")
        name = tokens.pop(0)
        if name == "(":
            result = alternatives()
            if not tokens or tokens.pop(0) != ")":
                raise ValueError("a bracket is not closed")
            return result
        if tokens[:1] == ["WITH"]:
            tokens.pop(0)
            name += " WITH " + (tokens.pop(0) if tokens else "")
        return name in ALLOWED

    result = alternatives()
    if tokens:
        raise ValueError(f"`{tokens[0]}` is not expected")
    return result


def self_test():
    for expression, wanted in [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("MIT/Apache-2.0", True),
        ("GPL-3.0-only OR MIT", True),
        ("GPL-3.0-only AND MIT", False),
        ("MIT OR Apache-2.0 AND GPL-3.0-only", True),
        ("(MIT OR Apache-2.0) AND GPL-3.0-only", False),
        ("(MIT OR GPL-3.0-only) AND Unicode-3.0", True),
        ("Apache-2.0 WITH LLVM-exception", True),
        ("GPL-2.0-only WITH Classpath-exception-2.0", False),
    ]:
        assert satisfied(expression) is wanted, expression


def main():
    self_test()
    command = ["cargo", "metadata", "--offline", "--locked", "--format-version", "1"]
    metadata = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if metadata.returncode != 0:
        print("error: cargo could not list the dependencies; its words are above", file=sys.stderr)
        return 2
    packages = json.loads(metadata.stdout)["packages"]
    wrong = 0
    for package in packages:
        name = f"{package['name']} {package['version']}"
        expression = package["license"]
        try:
            fine = bool(expression) and satisfied(expression)
        except ValueError as error:
            print(f"error: {name}: `{expression}` can't be read: {error}")
            wrong += 1
            continue
        if not fine:
            print(f"error: {name}: `{expression or 'no SPDX expression'}` is not allowed; replace it, or decide and add it to .ci/licences.py")
            wrong += 1
    print(f"licences: {len(packages)} packages, {wrong} not allowed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
