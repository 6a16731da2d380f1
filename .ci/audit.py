"""`make audit`: known vulnerabilities of what requirements.lock pins, as PyPI tells them to pip-audit.

pip-audit ends well where nobody knew the packages, or nobody answered for some of them: here that fails.
`python .ci/audit.py FILE WORD ...` audits another file of pins, and passes the words on to pip-audit."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

OFFLINE = ("--format", "json", "--progress-spinner", "off", "--disable-pip", "--no-deps")  # asks for no index
SOME = 5


def main(file: str = "requirements.lock", *words: str) -> None:
    command = [sys.executable, "-m", "pip_audit", *OFFLINE, "--requirement", file, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["it said nothing"]
        sys.exit(f"audit: nothing was audited: {said[-1]}")
    if fault := find_fault(packages):
        sys.exit(f"audit: {fault}")
    sys.stdout.write(f"audit: {len(packages)} packages, no known vulnerability\n")


def find_fault(packages: list[dict[str, Any]]) -> str | None:
    """Why an audit fails, in one line: no package, one that nobody knew, or one with a known vulnerability."""
    skipped = [each["name"] for each in packages if "vulns" not in each]
    vulnerable = [
        f"{each['name']} {each['version']} ({', '.join(found['id'] for found in each['vulns'])})"
        for each in packages
        if each.get("vulns")
    ]
    if len(skipped) == len(packages):
        return f"nothing was audited: of {len(packages)} packages none could be looked up"
    if vulnerable:
        return f"vulnerable: {'; '.join(vulnerable)}"
    if skipped:
        more = f" and {len(skipped) - SOME} more" if len(skipped) > SOME else ""
        return f"not audited: {', '.join(skipped[:SOME])}{more}"
    return None


if __name__ == "__main__":
    main(*sys.argv[1:])
