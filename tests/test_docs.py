"""What the documentation prints must run, and what it names must exist."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import chat_envs
from chat_envs.suite import FAMILIES

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md")) + [ROOT / "README.md"]
_PYTHON = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
_COMMAND = re.compile(r"^(?:\$ )?chat-envs ([a-z-]+)", re.MULTILINE)
_LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
_BLOCK = re.compile(r"^(`{3,})[^\n`]*\n.*?^\1`*$", re.DOTALL | re.MULTILINE)
_SIMULATORS = "writing_from_simulators.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run_in_order(page: Path, tmp_path: Path) -> None:
    blocks = _PYTHON.findall(page.read_text(encoding="utf-8"))
    if not blocks:
        pytest.skip("no Python on this page")
    # As a module of its own: environments are looked up by the module that defines them.
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", str(script)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def links(text: str) -> list[str]:
    """Return the files that Markdown links to; what a block shows, a dialogue say, is no link."""
    return _LINK.findall(_BLOCK.sub("", text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    for link in links(page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_links_are_those_outside_of_blocks() -> None:
    text = (
        "[a](one.md)\n````text\n[b](two.md)\n```\n[c](three.md)\n````\n[d](four.md#x)\n"
    )
    assert links(text) == ["one.md", "four.md"]


def test_an_environment_from_simulators_takes_under_sixty_lines() -> None:
    blocks = _PYTHON.findall((ROOT / "docs" / _SIMULATORS).read_text(encoding="utf-8"))
    examples = [block for block in blocks if "make_vector = " in block]
    assert len(examples) == 2
    for example in examples:
        assert example.startswith("from chat_envs import")
        assert len(example.splitlines()) < 60


def test_every_simulator_is_listed() -> None:
    text = (ROOT / "docs" / _SIMULATORS).read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    modules = (ROOT / "chat_envs" / "simulators").glob("*.py")
    assert listed == sorted({path.stem for path in modules} - {"__init__"})


def test_every_family_is_in_the_gallery() -> None:
    lines = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8").splitlines()
    for family in FAMILIES:
        assert f"### {family.name}" in lines


def test_every_command_shown_exists() -> None:
    setup = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    known = set(re.findall(r"^    ([a-z-]+) = \w+\.commands\.", setup, re.MULTILINE))
    assert {"list", "train", "evaluate"} <= known
    shown = {
        c for page in PAGES for c in _COMMAND.findall(page.read_text(encoding="utf-8"))
    }
    assert shown <= known


def test_every_public_name_has_a_docstring_and_is_documented() -> None:
    reference = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    for name in chat_envs.__all__:
        thing = getattr(chat_envs, name)
        assert (thing.__doc__ or "").strip(), name
        assert re.search(
            rf"\b{name}\b", reference
        ), f"docs/reference.md leaves out {name}"


def test_every_environment_has_its_page() -> None:
    pages = "".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "docs" / "environments").glob("*.md")
    )
    for registration in chat_envs.registrations():
        if registration.entry_point.startswith("chat_envs.envs."):
            assert f"`{registration.id}`" in pages


def test_a_first_reward_of_ones_own_takes_three_lines_and_one_flag(
    tmp_path: Path,
) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = [b for b in _PYTHON.findall(text) if b.startswith("def concise")]
    assert len(block.splitlines()) <= 3
    (tmp_path / "concise.py").write_text(block, encoding="utf-8")
    (line,) = re.findall(
        r"^chat-envs (train .*--reward .*concise:concise.*)$", text, re.M
    )
    few = "--total-timesteps 16 --num-eval-episodes 0 --no-warm-start --run own --set"
    words = [*shlex.split(line), *few.split(), "num_episodes=8"]
    program = Path(sys.executable).with_name("chat-envs")
    done = subprocess.run(
        [program, *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,  # outside of the repository, and no PYTHONPATH
        env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    paid = (tmp_path / "runs" / "own" / "metrics.jsonl").read_text(encoding="utf-8")
    assert '"reward/concise"' in paid
