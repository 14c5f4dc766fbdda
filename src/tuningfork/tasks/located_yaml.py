"""YAML whose parts know the lines they stand on."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tuningfork.data.text_source import read_lines
from tuningfork.errors import DataError, SuiteError

_MOST_PARTS = 1_000_000
_LARGEST_FILE = 20 * 2**20


class LocatedYaml:
    """What a YAML file says, and where.

    Raises:
        SuiteError: The file cannot be read or is not YAML, or its aliases repeat without end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        text = _read(path)
        try:
            self._root: Node | None = YAML(typ="safe", pure=True).compose(text)
            _count_parts(self._root, path)
            self.value: Any = YAML(typ="safe", pure=True).load(text)
        except SuiteError:
            raise
        except YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = "" if mark is None else f":{mark.line + 1}"
            problem = getattr(error, "problem", None) or str(error)
            raise SuiteError(f"{path}{line}: not valid YAML: {' '.join(problem.split())}") from error
        except RecursionError as error:
            raise SuiteError(f"{path}: nested too deeply") from error
        except Exception as error:
            # The reader has no error of its own for dates and numbers that do not exist, and others.
            problem = " ".join(str(error).split())
            raise SuiteError(f"{path}: not valid YAML: {type(error).__name__}: {problem:.100}") from error

    def place(self, *keys: str | int) -> str:
        """`file:line` of the part that `keys` lead to, or of the last part on the way that there is."""
        node, line = self._root, 0
        for key in keys:
            step = _child(node, key)
            if step is None:
                break
            line, node = step
        return f"{self.path}:{line + 1}"


def _child(node: Node | None, key: str | int) -> tuple[int, Node] | None:
    """The line and the node below `node`."""
    if isinstance(node, MappingNode):
        for name, value in node.value:
            if isinstance(name, ScalarNode) and name.value == str(key):
                return name.start_mark.line, value
    if isinstance(node, SequenceNode) and isinstance(key, int) and key < len(node.value):
        item = node.value[key]
        return item.start_mark.line, item
    return None


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise SuiteError(f"{path}: has more than {_LARGEST_FILE >> 20} MB; divide it into several files")
        return "".join(read_lines(path))
    except FileNotFoundError:
        raise SuiteError(f"{path}: there is no such file") from None
    except (DataError, OSError) as error:
        raise SuiteError(str(error)) from error


def _count_parts(root: Node | None, path: Path) -> None:
    """Check that what aliases stand for, written out, is finite and of a size that can be handled."""
    sizes: dict[int, int] = {}
    waiting: list[tuple[Node, bool]] = [] if root is None else [(root, False)]
    open_nodes: set[int] = set()
    while waiting:
        node, is_done = waiting.pop()
        inner = _inner(node)
        if is_done:
            sizes[id(node)] = 1 + sum(sizes[id(one)] for one in inner)
            open_nodes.discard(id(node))
            if sizes[id(node)] > _MOST_PARTS:
                raise SuiteError(
                    f"{path}:{node.start_mark.line + 1}: more than {_MOST_PARTS:,} parts with all aliases "
                    "written out"
                )
        elif id(node) not in sizes:
            if id(node) in open_nodes:
                raise SuiteError(f"{path}:{node.start_mark.line + 1}: an alias stands for itself")
            open_nodes.add(id(node))
            waiting.append((node, True))
            waiting += [(one, False) for one in inner]


def _inner(node: Node) -> list[Node]:
    if isinstance(node, MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, SequenceNode) else []
