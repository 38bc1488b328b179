"""Writes docs/dependencies.md: each direct dependency with its licence and its reason, and the licences of the rest.

Run it with the packages of requirements/dev.txt (`make licences`). `--check` writes nothing, and tells what is wrong.
Either way it ends with 1 where a dependency has no reason, a reason no dependency, or a licence is not allowed.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_KNOWN_AS = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache License": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "UNKNOWN": "unknown",
    "Version 2.0": "Apache-2.0",
}
_HEAD = """# Dependencies

Written by `make licences` from `pyproject.toml`, the locks and [requirements/why.toml](../requirements/why.toml); a
test compares. Versions and hashes of all packages are in `requirements/`, and pip takes nothing else: `make`, the
Dockerfile and `.ci/run` install with `--require-hashes`.

`make audit` asks [OSV](https://osv.dev) for known vulnerabilities of all packages in the three locks that are for this
platform and Python, and ends with 1 where there are any. Where OSV does not answer, or not for every package, it says
that nothing was checked, and ends with 2. `OSV_URL` names another service that answers as OSV's `/v1/query` does.
"""


@dataclass(frozen=True)
class Package:
    """One package of the locks."""

    name: str
    version: str
    licence: str


@dataclass(frozen=True)
class Project:
    """What is known of the dependencies. `direct` says where each stands in pyproject.toml."""

    direct: dict[str, str]
    run: dict[str, Package]
    dev: dict[str, Package]
    why: dict[str, Any]

    @property
    def packages(self) -> dict[str, Package]:
        """All of them."""
        return self.dev | self.run


def canonical(name: str) -> str:
    """A package's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def direct_dependencies(pyproject: dict[str, Any]) -> dict[str, str]:
    """Each with where it stands first: server, an extra or a group."""
    project = pyproject["project"]
    places = {"server": project["dependencies"]}
    places |= {f"extra {name}": wanted for name, wanted in project["optional-dependencies"].items()}
    places |= pyproject["dependency-groups"]
    found: dict[str, str] = {}
    for place, wanted in places.items():
        for requirement in wanted:
            found.setdefault(canonical(re.split(r"[\[<>=!~; ]", requirement)[0]), place)
    return found


def installed_licences() -> dict[str, str]:
    """Of the packages of this environment, as their metadata say."""
    command = [str(Path(sys.executable).parent / "pip-licenses"), "--from=mixed", "--format=json", "--with-system"]
    rows = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {canonical(row["Name"]): normal(row["License"]) for row in rows}


def normal(licence: str) -> str:
    """As SPDX writes it, near enough to compare."""
    parts = re.split(r";\s*|,\s*", licence.strip().splitlines()[0])
    known = dict.fromkeys(_KNOWN_AS.get(part.strip(), part.strip()) for part in parts)
    return " AND ".join(known)


def locked(lock: Path, licences: dict[str, str]) -> dict[str, Package]:
    """The packages of a lock."""
    pins = re.findall(r"^([A-Za-z0-9_.-]+)==([^ ;\\\n]+)", lock.read_text(), re.MULTILINE)
    return {canonical(name): Package(name, version, licences.get(canonical(name), "unknown")) for name, version in pins}


def read(root: Path) -> Project:
    """All that there is to know of the checkout at `root`."""
    why = tomllib.loads((root / "requirements/why.toml").read_text())
    licences = installed_licences() | why["licence"]
    return Project(
        direct_dependencies(tomllib.loads((root / "pyproject.toml").read_text())),
        locked(root / "requirements/run.txt", licences),
        locked(root / "requirements/dev.txt", licences),
        why,
    )


def wrong(project: Project) -> Iterator[str]:
    """What does not fit, a sentence each."""
    reasons = project.why["why"]
    for name in project.direct.keys() - reasons.keys():
        yield f"requirements/why.toml: {name} is in pyproject.toml, and nothing says why."
    for name in reasons.keys() - project.direct.keys():
        yield f"requirements/why.toml: {name} has a reason, and is not in pyproject.toml."
    for name, package in sorted(project.packages.items()):
        if (said := unlisted(name, package.licence, project.why)) is not None:
            yield said
        if name in project.run and project.why["named"].get(name, {}).get("only") == "development":
            yield f"requirements/why.toml: {name} is for development alone, and is in the server's lock."
    for name in project.why["named"].keys() - project.packages.keys():
        yield f"requirements/why.toml: {name} is named, and is in no lock."


def unlisted(name: str, licence: str, why: dict[str, Any]) -> str | None:
    """What is wrong with a licence: all that `AND` joins must be allowed, of what `OR` joins one."""
    allowed = {*why["allowed"]["licences"], why["named"].get(name, {}).get("licence")}
    terms = re.split(r" AND ", licence.replace("(", "").replace(")", ""))
    if all(any(part.strip() in allowed for part in term.split(" OR ")) for term in terms):
        return None
    return f"requirements/why.toml: the licence of {name}, {licence}, is not allowed."


def page(project: Project) -> str:
    """docs/dependencies.md."""
    parts = [_HEAD, "## Direct\n", *direct_table(project), ""]
    others = {name: package for name, package in project.packages.items() if name not in project.direct}
    run = [package for name, package in others.items() if name in project.run]
    rest = [package for name, package in others.items() if name not in project.run]
    parts += ["## What the server's bring with them\n", "Installed by `make run`, `make serve` and the Dockerfile.\n"]
    parts += [*table(run), "", "## What extras and development bring with them\n", *table(rest), ""]
    parts += ["## Licences that need a word\n", "| Package | Licence | Why it fits |", "|---|---|---|"]
    parts += [f"| {name} | {of['licence']} | {of['why']} |" for name, of in sorted(project.why["named"].items())]
    parts += ["", *_STUDIO]
    return "\n".join(parts) + "\n"


_STUDIO = (
    "`make studio` has an environment of its own (`requirements/studio.txt`). It holds `langgraph-api` and",
    "`langgraph-runtime-inmem` under Elastic-2.0, which is no open-source licence; nothing else here uses them.",
)


def direct_table(project: Project) -> Iterator[str]:
    """Each direct dependency with its reason."""
    yield "| Package | Version | Licence | Where | Why |"
    yield "|---|---|---|---|---|"
    order = list(dict.fromkeys(project.direct.values()))
    for name, where in sorted(project.direct.items(), key=lambda item: (order.index(item[1]), item[0])):
        package = project.packages.get(name, Package(name, "see the lock", "MIT"))
        yield f"| {name} | {package.version} | {package.licence} | {where} | {project.why['why'][name]} |"


def table(packages: Iterable[Package]) -> Iterator[str]:
    """Packages and their licences."""
    yield "| Package | Version | Licence |"
    yield "|---|---|---|"
    for package in sorted(packages, key=lambda package: package.name):
        yield f"| {package.name} | {package.version} | {package.licence} |"


def main() -> int:
    """Writes the page, or says what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1], help="the checkout")
    asked = parser.parse_args()
    project = read(asked.root)
    if said := sorted(wrong(project)):
        print("\n".join(said), file=sys.stderr)
        return 1
    target, text = asked.root / "docs/dependencies.md", page(project)
    if asked.check and target.read_text() != text:
        print("docs/dependencies.md is not what `make licences` writes.", file=sys.stderr)
        return 1
    if not asked.check:
        target.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
