"""Asks OSV for known vulnerabilities of what the three locks hold, by pip-audit.

Ends with 0 where all were asked for and none has any, with 1 where some have, with 2 where not all could be asked for:
pip-audit itself ends with 0 for packages that it could not find anything out about.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
LOCKS: Final = tuple(HERE / f"{name}.txt" for name in ("run", "dev", "studio"))
OSV_URL: Final = "https://api.osv.dev/v1/query"
TIMEOUT_SEC: Final = 15


class NotChecked(Exception):
    """Not all packages could be asked for; the message says why."""


def vulnerable(lock: Path, url: str) -> tuple[int, list[dict[str, Any]]]:
    """How many packages of `lock` were asked for at `url`, and those with vulnerabilities. Raises `NotChecked`."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "found.json"
        command = [sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--disable-pip", "--require-hashes"]
        command += ["--vulnerability-service", "osv", "--osv-url", url, "--timeout", str(TIMEOUT_SEC)]
        # A cache of its own: an answer of last week is not today's.
        command += ["--progress-spinner", "off", "--format", "json", "--output", str(found), "--cache-dir", folder]
        done = subprocess.run(command, capture_output=True, text=True)
        if not found.exists():
            raise NotChecked((done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1])
        packages: list[dict[str, Any]] = json.loads(found.read_text())["dependencies"]
    if left_out := [package["name"] for package in packages if "skip_reason" in package]:
        raise NotChecked(f"nothing was learned of {', '.join(left_out)}")
    if not packages:
        raise NotChecked("the lock is empty")
    return len(packages), [package for package in packages if package["vulns"]]


def main() -> int:
    """Audits all locks."""
    url = os.environ.get("OSV_URL") or OSV_URL
    bad = False
    for lock in LOCKS:
        try:
            count, packages = vulnerable(lock, url)
        except NotChecked as error:
            print(f"error: {lock.name} was NOT checked: {url} could not be asked for all packages.", file=sys.stderr)
            print(f"  {str(error)[:300]}", file=sys.stderr)
            return 2
        for package in packages:
            for vuln in package["vulns"]:
                fixed = ", ".join(vuln["fix_versions"]) or "nowhere yet"
                print(f"{lock.name}: {package['name']} {package['version']}: {vuln['id']}, fixed in: {fixed}")
        print(f"{lock.name}: {count} packages, {len(packages)} with known vulnerabilities")
        bad = bad or bool(packages)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
