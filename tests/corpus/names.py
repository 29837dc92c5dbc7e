"""Record in which version of a library each class exists that a rule pack names.

    python tests/corpus/names.py --list     # where guarded is installed: notes in names.json the names that are new
    python tests/corpus/names.py            # where libraries are installed, any Python from 3.8: looks for those

Run the second in an environment of each version that a pack is written against, until no name is left without one.
"""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any, Dict, Optional  # noqa: UP035  # old versions of libraries want an old Python

RECORD = Path(__file__).parent / "names.json"
Names = Dict[str, Dict[str, str]]  # noqa: UP006  # as above


def main() -> None:
    """Look for the names that were not found yet, or list those that are new."""
    known: Names = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    if sys.argv[1:] == ["--list"]:
        known = _listed(known)
    else:
        warnings.simplefilter("ignore")
        for names in known.values():
            if not all(names.values()):
                for package in {name.partition(".")[0] for name in names}:
                    _resolved(f"{package}.Exception")  # so that it is loaded
            for name in [name for name, version in names.items() if not version]:
                names[name] = _version(name) if _resolved(name) or name in _defined() else ""
    RECORD.write_text(json.dumps(known, indent=0, sort_keys=True) + "\n", encoding="utf-8")


def _listed(known: Names) -> Names:
    from guarded._packs import BUILT_IN, STANDARD, built_in  # noqa: PLC0415  # not there where old libraries are

    def names(pack: str) -> set[str]:
        return {target for rule in built_in(pack) for target in rule.targets if isinstance(target, str)}

    return {
        pack: {name: known.get(pack, {}).get(name, "") for name in sorted(names(pack) - names(STANDARD))}
        for pack in BUILT_IN
        if pack != STANDARD
    }


def _resolved(name: str) -> Optional[type]:  # noqa: UP045  # as above
    """The class of exceptions that a dotted name stands for, if it is called what the name's last part says."""
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:cut]))
            for part in parts[cut:]:
                found = getattr(found, part)
            if issubclass(found, BaseException) and found.__name__ == parts[-1]:
                return found  # type: ignore[no-any-return]  # it is a class
        except Exception:  # noqa: BLE001, S112  # the library is not here, or wants another that is not
            continue
    return None


def _defined() -> set[str]:
    """Where the classes that are loaded say that they were defined, which need not be a module that can be imported."""
    found: set[str] = set()
    pending: list[type] = [BaseException]
    while pending:
        kind = pending.pop()
        found.add(f"{kind.__module__}.{kind.__qualname__}")
        pending.extend(type.__subclasses__(kind))
    return found


def _version(name: str) -> str:
    """The distribution that a name is from, and its version."""
    package = name.partition(".")[0]
    distributions: dict[str, Any] = getattr(metadata, "packages_distributions", dict)()
    distribution = distributions.get(package, [package])[0]
    try:
        return f"{distribution} {metadata.version(distribution)}"
    except metadata.PackageNotFoundError:
        return f"{package}, version unknown"


if __name__ == "__main__":
    main()
