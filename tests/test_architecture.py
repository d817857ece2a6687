"""The house and its rules: sizes, names, imports, randomness, the public surface.

A rule that has a good reason to be broken is broken here, in `EXCEPTIONS`, with the reason.
"""

from __future__ import annotations

import configparser
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests import house_rule
from tests.house_rule import EVERYWHERE, IN_SOURCE, Module, Rule

ROOT = Path(__file__).parent.parent
PACKAGES = ("chat_envs", "agents", "benchmarks")
TOP_LEVEL = frozenset(
    "setup.cfg chat_envs agents benchmarks tests docs README.md pyproject.toml Makefile"
    " constraints.txt CHANGELOG.md CONTRIBUTING.md LICENSE .ci .gitignore"
    " .pre-commit-config.yaml".split()
)
# (rule, path) -> why this file may break it.
EXCEPTIONS: dict[tuple[str, str], str] = {
    (
        "ownerless_randomness",
        "chat_envs/bridges/borrowed_randomness.py",
    ): "gives the global state of other packages an owner, and then gives it back",
}
# Files that would configure a tool beside, or instead of, setup.cfg.
STRAY_SETTINGS = frozenset(
    "tox.ini pytest.ini mypy.ini .mypy.ini .flake8 .isort.cfg .coveragerc .importlinter"
    " .codespellrc ruff.toml .ruff.toml pyrightconfig.json".split()
)
TORCH_FREE = [
    "torch",
    "transformers",
    "safetensors",
    "deepspeed",
    "stable_baselines3",
    "accelerate",
    "gguf",
    "rich",
    "tyro",
    "jinja2",
    "matplotlib",
    "tensorboard",
    "yaml",
    "agents",
]


def git_files() -> list[str]:
    """Return the paths that git tracks or would track, relative to the root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    paths = listing.stdout.decode().split("\0")
    # A file deleted but not yet committed is still listed.
    return sorted({path for path in paths if path and (ROOT / path).is_file()})


FILES = git_files() if (ROOT / ".git").exists() else []
MODULES = {
    path: Module(path, (ROOT / path).read_text("utf-8"))
    for path in FILES
    if path.endswith(".py")
}
SOURCES = {path: m for path, m in MODULES.items() if path.split("/")[0] in PACKAGES}

needs_git = pytest.mark.skipif(
    not FILES, reason="not a git checkout: nothing says what is ours"
)


def import_name(path: str) -> str:
    """Return the dotted name under which the file at `path` is imported."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def violations(rule: Rule, modules: dict[str, Module]) -> list[str]:
    """Return "path:finding" for all that breaks `rule`, exceptions left out."""
    return [
        f"{path}:{finding}"
        for path, module in modules.items()
        if (rule.__name__, path) not in EXCEPTIONS
        for finding in rule(module)
    ]


@needs_git
@pytest.mark.parametrize("rule", EVERYWHERE + IN_SOURCE, ids=lambda rule: rule.__name__)
def test_the_house_keeps_its_rule(rule: Rule) -> None:
    found = violations(rule, MODULES if rule in EVERYWHERE else SOURCES)
    assert not found, f"{rule.__doc__}\n" + "\n".join(found)


@needs_git
def test_every_exception_is_still_needed() -> None:
    rules = {rule.__name__: rule for rule in EVERYWHERE + IN_SOURCE}
    for (name, path), reason in EXCEPTIONS.items():
        assert reason
        assert rules[name](
            MODULES[path]
        ), f"{path} keeps {name} by now: drop its exception."


BROKEN = [
    (house_rule.long_file, "\n" * 400),
    (house_rule.long_function, "def f():\n" + "    x = 1\n" * 59),
    (house_rule.nested_import, "def f():\n    if True:\n        import os\n"),
    (
        house_rule.nested_import,
        "class A:\n    async def f(self):\n        from os import path\n",
    ),
    (house_rule.unsafe_code, "import pickle"),
    (house_rule.unsafe_code, "from cloudpickle import loads"),
    (house_rule.unsafe_code, "eval('1')"),
    (house_rule.unsafe_code, "import torch as t\nt.load('x')"),
    (house_rule.unsafe_code, "from torch import load as read\nread('x')"),
    (house_rule.unsafe_code, "f(trust_remote_code=True)"),
    (house_rule.unsafe_code, "f(trust_remote_code=flag)"),
    (house_rule.ownerless_randomness, "import numpy as np\nnp.random.rand(3)"),
    (house_rule.ownerless_randomness, "from numpy import random\nrandom.seed(1)"),
    (house_rule.ownerless_randomness, "from numpy.random import shuffle\nshuffle([1])"),
    (house_rule.ownerless_randomness, "import numpy as np\nnp.random.default_rng()"),
    (house_rule.ownerless_randomness, "import random\nrandom.choice([1])"),
    (house_rule.ownerless_randomness, "import torch\ntorch.manual_seed(1)"),
    (house_rule.ownerless_randomness, "import torch\ntorch.randn(3)"),
    (house_rule.ownerless_randomness, "x.uniform_(0, 1)"),
    (house_rule.swallowed_exception, "try:\n    f()\nexcept:\n    g()"),
    (house_rule.swallowed_exception, "try:\n    f()\nexcept Exception:\n    pass"),
    (house_rule.public_surface, "def f(): ..."),
    (house_rule.public_surface, "__all__ = ['b', 'a']"),
    (house_rule.public_surface, "__all__ = ['a', 'a']"),
    (house_rule.machine_path, "PATH = '/" + "home/me/data'"),
]
KEPT = [
    (house_rule.long_file, "\n" * 399),
    (house_rule.long_function, "def f():\n" + "    x = 1\n" * 58),
    (house_rule.nested_import, "if True:\n    import os\n"),
    (
        house_rule.unsafe_code,
        "model.eval()\nmodel.load('x')\nf(trust_remote_code=False)",
    ),
    (
        house_rule.ownerless_randomness,
        "import numpy as np\nnp.random.default_rng(3).random()",
    ),
    (
        house_rule.ownerless_randomness,
        "import random\nrandom.Random(3)\nself.np_random.random()",
    ),
    (house_rule.ownerless_randomness, "import torch\ntorch.rand(3, generator=g)"),
    (
        house_rule.ownerless_randomness,
        "import torch\nwith torch.random.fork_rng():\n    torch.manual_seed(1)",
    ),
    (house_rule.swallowed_exception, "try:\n    f()\nexcept KeyError:\n    pass"),
    (house_rule.public_surface, "__all__ = ['A', 'b']\nclass A: ..."),
    (house_rule.public_surface, "import os"),
    (house_rule.machine_path, "SEE = 'https://example.org/home/page'  # a/tmp/b"),
]


@pytest.mark.parametrize(("rule", "text"), BROKEN)
def test_a_rule_finds_what_breaks_it(rule: Rule, text: str) -> None:
    assert rule(Module("x.py", text))


@pytest.mark.parametrize(("rule", "text"), KEPT)
def test_a_rule_leaves_the_rest_alone(rule: Rule, text: str) -> None:
    assert rule(Module("x.py", text)) == []


@pytest.mark.parametrize("path", ["a/utils.py", "a/text_helpers.py", "common/a.py"])
def test_a_vague_name_is_found(path: str) -> None:
    assert house_rule.vague_name(Module(path, ""))
    assert not house_rule.vague_name(Module("a/community.py", ""))


@needs_git
def test_top_level_names_are_the_agreed_ones() -> None:
    extra = {path.split("/")[0] for path in FILES} - TOP_LEVEL
    assert not extra, f"{sorted(extra)} stand beside the agreed top-level names."


@needs_git
def test_every_folder_of_python_files_is_a_package() -> None:
    folders = {Path(path).parent for path in MODULES if not path.startswith("docs/")}
    bare = sorted(str(f) for f in folders if not (ROOT / f / "__init__.py").exists())
    assert (
        not bare
    ), f"no __init__.py in {bare}: they would be left out or shadow another package."


@needs_git
def test_no_file_names_a_path_of_one_machine() -> None:
    found = []
    for path in FILES:
        try:
            text = (ROOT / path).read_text("utf-8")
        except UnicodeDecodeError:
            continue  # binary
        found += [f"{path}:{finding}" for finding in house_rule.machine_path(text)]
    assert not found, "\n".join(found)


def test_setup_cfg_alone_configures_the_tools() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert set(pyproject) == {
        "build-system"
    }, "pyproject.toml is the build table alone."
    stray = sorted(name for name in STRAY_SETTINGS if (ROOT / name).exists())
    assert not stray, f"{stray} would override setup.cfg."


def test_the_core_needs_three_packages() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    required = config["options"]["install_requires"].split()
    names = [re.split(r"[<>=!~]", requirement)[0] for requirement in required]
    assert names == ["gymnasium", "numpy", "tokenizers"]


@needs_git
def test_every_public_name_exists() -> None:
    found = []
    for path, source in SOURCES.items():
        if path.endswith("__main__.py"):
            continue  # importing it would run it
        module = importlib.import_module(import_name(path))
        names = house_rule.public_names(source) or []
        found += [f"{path}: {name}" for name in names if not hasattr(module, name)]
    assert not found, "named in __all__ but not there:\n" + "\n".join(found)


BLOCKED_IMPORT = """
import importlib, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

BLOCKED, modules = sys.argv[1].split(","), sys.argv[2].split(",")
sys.meta_path.insert(0, Refuse())
for module in modules:
    importlib.import_module(module)
loaded = sorted(set(BLOCKED) & {name.partition(".")[0] for name in sys.modules})
sys.exit(f"loaded: {loaded}" if loaded else 0)
"""


def import_blocked(modules: list[str]) -> subprocess.CompletedProcess[str]:
    """Import `modules` in a process of its own that has none of `TORCH_FREE`."""
    arguments = [",".join(TORCH_FREE), ",".join(modules)]
    command = [sys.executable, "-c", BLOCKED_IMPORT, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@needs_git
def test_the_suite_imports_without_torch() -> None:
    # pretrained_tokenizer is the one file that imports transformers, and is reached by name alone.
    modules = [
        import_name(path)
        for path in SOURCES
        if path.startswith("chat_envs/")
        and not path.endswith(("pretrained_tokenizer.py", "__main__.py"))
    ]
    done = import_blocked(modules)
    assert done.returncode == 0, done.stderr


def test_the_import_block_blocks() -> None:
    done = import_blocked(["agents.engine.language_model"])
    assert done.returncode != 0
    assert "is blocked" in done.stderr
