"""The rules of the house, each a pure function from a module to what breaks it.

`tests.test_architecture` applies them to every file; here they stand alone so that each
can be shown to catch a module that breaks it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

MAX_FILE_LINES = 399
MAX_FUNCTION_LINES = 59
VAGUE_NAMES = frozenset({"util", "utils", "common", "helper", "helpers", "misc"})
PICKLERS = frozenset(
    "pickle cPickle _pickle dill cloudpickle joblib marshal shelve".split()
)
# What numpy.random has beside the functions that share one hidden state.
OWNED_NUMPY = frozenset(
    "BitGenerator Generator MT19937 PCG64 PCG64DXSM Philox SFC64 SeedSequence default_rng".split()
)
TORCH_SEEDS = frozenset(
    {"manual_seed", "manual_seed_all", "seed", "seed_all", "set_rng_state"}
)
TORCH_SAMPLERS = frozenset(
    "bernoulli multinomial normal poisson rand rand_like randint randint_like randn"
    " randn_like randperm".split()
)
TENSOR_SAMPLERS = frozenset(
    "bernoulli_ cauchy_ exponential_ geometric_ log_normal_ normal_ random_ uniform_".split()
)
# A lookbehind keeps web addresses out. The pattern does not match its own text.
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|Users|work|opt|tmp)/[\w.]")


@dataclass(frozen=True)
class Module:
    """One file: its path inside the repository and its text; parsed once, when first asked."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """Return the syntax tree."""
        return ast.parse(self.text, filename=self.path)

    @cached_property
    def aliases(self) -> dict[str, str]:
        """Return what each imported name stands for, as a full dotted name."""
        names: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for name in node.names:
                    # `import a.b` binds `a`; `import a.b as c` binds `a.b`.
                    top = name.name.partition(".")[0]
                    names[name.asname or top] = name.name if name.asname else top
            elif isinstance(node, ast.ImportFrom) and not node.level:
                for name in node.names:
                    names[name.asname or name.name] = f"{node.module}.{name.name}"
        return names

    def dotted(self, node: ast.AST) -> str:
        """Return the full name that `node` refers to through an import, or "" where it does not.

        >>> module = Module("x.py", "import numpy as np")
        >>> module.dotted(ast.parse("np.random.rand", mode="eval").body)
        'numpy.random.rand'
        """
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id not in self.aliases:
            return ""
        return ".".join([self.aliases[node.id], *reversed(parts)])


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (
        n
        for n in ast.walk(tree)
        if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def _keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((k.value for k in call.keywords if k.arg == name), None)


def long_file(module: Module) -> list[str]:
    """A file is under 400 lines."""
    lines = len(module.text.splitlines())
    return [f"{lines} lines"] if lines > MAX_FILE_LINES else []


def long_function(module: Module) -> list[str]:
    """A function, its docstring included, is under 60 lines."""
    sizes = {f: (f.end_lineno or 0) - f.lineno + 1 for f in _functions(module.tree)}
    return [
        f"{f.lineno}: {f.name} has {size} lines"
        for f, size in sizes.items()
        if size > MAX_FUNCTION_LINES
    ]


def vague_name(module: Module) -> list[str]:
    """No part of a path says only that something is in it."""
    words = set(re.split(r"[/_.]", module.path))
    return [f"named {word!r}" for word in sorted(words & VAGUE_NAMES)]


def nested_import(module: Module) -> list[str]:
    """Imports stand at the top of the file."""
    found = [
        node.lineno
        for function in _functions(module.tree)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    return [f"{line}: import inside a function" for line in sorted(set(found))]


def unsafe_code(module: Module) -> list[str]:
    """Nothing that a file was read from can run: no pickle, eval, exec, torch.load, shell."""
    found = [
        (node.lineno, f"imports {name}")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in sorted(_imported(node))
        if name.partition(".")[0] in PICKLERS
    ]
    for call in _calls(module.tree):
        if isinstance(call.func, ast.Name) and call.func.id in {"eval", "exec"}:
            found.append((call.lineno, call.func.id))
        name = module.dotted(call.func)
        if name in {
            "torch.load",
            "torch.save",
            "yaml.load",
            "yaml.unsafe_load",
            "os.system",
        }:
            found.append((call.lineno, name))
        for keyword in ("trust_remote_code", "allow_pickle", "shell"):
            value = _keyword(call, keyword)
            if value is not None and not (
                isinstance(value, ast.Constant) and value.value is False
            ):
                found.append((call.lineno, f"{keyword} is not plainly False"))
    return [f"{line}: {what}" for line, what in found]


def _imported(node: ast.Import | ast.ImportFrom) -> set[str]:
    if isinstance(node, ast.Import):
        return {name.name for name in node.names}
    return {node.module} if node.module and not node.level else set()


def ownerless_randomness(module: Module) -> list[str]:
    """Every draw has a generator that somebody owns and seeded.

    Code that cannot take a generator (a layer's initialisation) stands inside a
    `with torch.random.fork_rng():`, which gives the global state back.
    """
    forked = {
        id(inner)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.With)
        and any("fork_rng" in ast.dump(item.context_expr) for item in node.items)
        for inner in ast.walk(node)
    }
    found = [
        f"{call.lineno}: {name}"
        for call in _calls(module.tree)
        if id(call) not in forked and (name := _ownerless(module, call))
    ]
    return found


def _ownerless(module: Module, call: ast.Call) -> str:
    name = module.dotted(call.func)
    package, _, last = name.rpartition(".")
    has_generator = _keyword(call, "generator") is not None
    if package == "numpy.random":
        is_seeded = bool(call.args or call.keywords) or last != "default_rng"
        return "" if last in OWNED_NUMPY and is_seeded else name
    if package == "random":
        return "" if last == "Random" and call.args else name
    if package in {"torch", "torch.random", "torch.cuda"} and last in TORCH_SEEDS:
        return name
    if package == "torch" and last in TORCH_SAMPLERS and not has_generator:
        return name
    if isinstance(call.func, ast.Attribute) and call.func.attr in TENSOR_SAMPLERS:
        return "" if has_generator else call.func.attr
    return ""


def swallowed_exception(module: Module) -> list[str]:
    """An exception is handled or raised: a handler of everything hides defects."""
    found = []
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        if node.type is None:
            found.append(f"{node.lineno}: bare except")
        elif isinstance(node.type, ast.Name) and node.type.id in {
            "Exception",
            "BaseException",
        }:
            if all(isinstance(line, ast.Pass | ast.Continue) for line in node.body):
                found.append(f"{node.lineno}: except {node.type.id} that does nothing")
    return found


def public_names(module: Module) -> list[str] | None:
    """Return the literal `__all__` of `module`, or None where it has none."""
    for node in module.tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
        if any(isinstance(t, ast.Name) and t.id == "__all__" for t in targets):
            return list(ast.literal_eval(node.value))  # type: ignore[attr-defined]
    return None


def public_surface(module: Module) -> list[str]:
    """`__all__` is there, sorted, and names nothing twice."""
    names = public_names(module)
    if names is None:
        defines = any(
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            for node in module.tree.body
        )
        return ["has no __all__"] if defines else []
    found = [] if names == sorted(names) else [f"__all__ is not sorted: {names}"]
    return found + (
        [f"__all__ repeats a name: {names}"] if len(set(names)) < len(names) else []
    )


def machine_path(module_or_text: Module | str) -> list[str]:
    """No path of one machine stands in a file."""
    text = module_or_text if isinstance(module_or_text, str) else module_or_text.text
    return [
        f"{number}: {match.group()}"
        for number, line in enumerate(text.splitlines(), 1)
        if (match := MACHINE_PATH.search(line))
    ]


Rule = Callable[[Module], list[str]]
# Tests may build what the source must refuse: a pickle, a seeded global state.
EVERYWHERE: tuple[Rule, ...] = (long_file, long_function, vague_name, nested_import)
IN_SOURCE: tuple[Rule, ...] = (
    unsafe_code,
    ownerless_randomness,
    swallowed_exception,
    public_surface,
)
