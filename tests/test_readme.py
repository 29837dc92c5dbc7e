"""The README: its Python runs as one program, its files exist, and its output is what the programs print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from guarded import FailureRules
from guarded._packs import BUILT_IN, parsed

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def test_the_python_blocks_run_as_one_program(tmp_path: Path) -> None:
    """All Python of the README, from top to bottom, is one program that runs."""
    program = "\n".join(blocks("python"))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "guarded.db").exists()
    assert "VWAP" in done.stdout


def test_the_toml_blocks_are_packs(tmp_path: Path) -> None:
    """Every TOML block of the README is a pack that loads, but for the configuration."""
    packs = [block for block in blocks("toml") if "pack =" in block]
    for number, block in enumerate(packs):
        pack = tmp_path / f"{number}.toml"
        pack.write_text(block, encoding="utf-8")
        FailureRules().load(pack)
    assert len(packs) == len(blocks("toml")) - 1


def test_the_configuration_is_sound(tmp_path: Path) -> None:
    """The configuration that the README shows is accepted, where there are the modules and the pack that it names."""
    (block,) = [block for block in blocks("toml") if "pack =" not in block]
    (tmp_path / "guarded.toml").write_text(block, encoding="utf-8")
    (tmp_path / "my_rules.toml").write_text('pack = "mine"\nrule = []\n', encoding="utf-8")
    (tmp_path / "my_bot" / "strategies").mkdir(parents=True)
    (tmp_path / "my_bot" / "risk.py").write_text("def cancel_all(reason, failure): ...\n", encoding="utf-8")
    code = "import guarded; print(guarded.configure())"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=tmp_path,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert 'reset_window = "5m"' in done.stdout
    assert "my_bot.strategies.*:*.generate_signals is not imported yet" in done.stdout


def table_of_packs() -> str:
    """The table of the built-in packs, made from the packs themselves."""
    rows = ["| pack | about | written against |", "|---|---|---|"]
    for name in BUILT_IN:
        pack = parsed(name)
        source = pack["source"] if isinstance(pack["source"], str) else pack["source"][0]
        rows.append(f"| [{name}]({source}) | {pack['about']} | {pack['versions']} |")
    return "\n".join(rows)


def test_the_table_of_packs_is_made_from_them() -> None:
    """What the README says of the built-in packs is what they say of themselves."""
    assert table_of_packs() in README


def test_the_explanation_shown_is_what_the_command_prints() -> None:
    """What the README shows of `python -m guarded explain` is what it prints, by the command shown."""
    shown = next(block for block in blocks("text") if "counts as" in block)
    command = next(line for line in README.splitlines() if "guarded explain sqlite3" in line)
    done = subprocess.run(
        [sys.executable, *command.split()[1:]], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout == shown


def test_the_example_is_short() -> None:
    """The first example shows the decorator in about ten lines."""
    assert len([line for line in blocks("python")[0].splitlines() if line.strip()]) <= 10


def test_the_linked_files_exist() -> None:
    """Every relative link leads to a file."""
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_output_shown_is_what_the_program_prints() -> None:
    """What the README shows of the main job is printed by it, line by line and in this order."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "live_trading.py")],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    printed = iter((done.stdout + done.stderr).splitlines())
    for line in blocks("text")[0].splitlines():
        if line.strip() not in ("", "..."):
            assert line in printed, f"not printed, or not in this order: {line}"
