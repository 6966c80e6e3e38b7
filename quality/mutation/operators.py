"""What a mutant is: one small change to a module, made by the operators of mutmut.

mutmut itself changes only what is inside of undecorated functions. Here constants, the bodies of classes and decorated
functions are changed too: a time limit, the status of an error and an exception handler are promises like any other.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.mutators import mutation_operators

# Types are for mypy, and the others would break the import itself.
LEFT_ALONE = (cst.Annotation, cst.Decorator, cst.Import, cst.ImportFrom)
TRIVIAL_CALLS = {"len", "isinstance"}  # with None for an argument they only raise


@dataclass(frozen=True)
class Mutant:
    """A module with ``other`` in the place of one of its nodes."""

    path: Path
    line: int
    module: cst.Module
    node: cst.CSTNode
    other: cst.CSTNode

    def source(self) -> bytes:
        return cst.ensure_type(self.module.deep_replace(self.node, self.other), cst.Module).bytes

    def __str__(self) -> str:
        before, after = (
            " ".join(self.module.code_for_node(node).split()) for node in (self.node, self.other)
        )
        return f"{self.path.as_posix()}:{self.line}  {before}  ->  {after}"


def mutants_of(path: Path) -> list[Mutant]:
    """Every mutant of the module at ``path``."""
    module = cst.parse_module(path.read_bytes())
    places = MetadataWrapper(module, unsafe_skip_copy=True).resolve(PositionProvider)
    return [
        Mutant(path, places[node].start.line, module, node, other)
        for node, other in changes(module)
    ]


def changes(node: cst.CSTNode) -> Iterator[tuple[cst.CSTNode, cst.CSTNode]]:
    """Every change to ``node`` and to what is below it: what goes, and what comes in its place."""
    trivial = isinstance(node, cst.Call) and getattr(node.func, "value", "") in TRIVIAL_CALLS
    if trivial or isinstance(node, LEFT_ALONE):
        return
    for kind, operator in mutation_operators:
        if isinstance(node, kind):
            yield from ((node, other) for other in operator(node))
    for child in node.children:
        yield from changes(child)
