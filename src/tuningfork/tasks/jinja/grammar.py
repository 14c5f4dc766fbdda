"""Jinja2's own parser, and what of its language may stand in a prompt."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, StrictUndefined, TemplateSyntaxError, nodes
from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tuningfork.tasks.jinja.budget import LARGEST_WHOLE_NUMBER, Refused
from tuningfork.tasks.suggestions import did_you_mean

MOST_TOKENS = 5_000
"""Words and signs inside the braces of one template."""
DEEPEST = 40
"""Parts of a template that may be inside each other."""

GLOBALS = ("range",)
"""Functions that there are beside a template's own macros."""

_NO_FUNCTIONS = ("dict", "cycler", "joiner", "lipsum", "namespace")
_INSTEAD = {
    nodes.Include: "{% include %} is not available; a piece from elsewhere is {{> name}}, below partials:",
    nodes.Import: "{% import %} is not available; write the macro into the prompt",
    nodes.FromImport: "{% from %} is not available; write the macro into the prompt",
    nodes.Extends: "{% extends %} is not available; a piece from elsewhere is {{> name}}, below partials:",
    nodes.Block: "{% block %} is not available",
    nodes.CallBlock: "{% call %} is not available; give the macro the text as an argument",
    nodes.FilterBlock: "{% filter %} is not available; write the filter behind the variable",
    nodes.With: "{% with %} is not available; write {% set %}",
    nodes.Scope: "{% autoescape %} is not available; nothing is escaped in prompts",
    nodes.NSRef: "a namespace is not available; values that are set in a loop stay inside it",
}
_ALLOWED = (
    nodes.Output,
    nodes.TemplateData,
    nodes.If,
    nodes.For,
    nodes.Assign,
    nodes.AssignBlock,
    nodes.Macro,
    nodes.Name,
    nodes.Const,
    nodes.Tuple,
    nodes.List,
    nodes.Dict,
    nodes.Pair,
    nodes.Keyword,
    nodes.CondExpr,
    nodes.Filter,
    nodes.Test,
    nodes.Call,
    nodes.Getitem,
    nodes.Getattr,
    nodes.Slice,
    nodes.Concat,
    nodes.Compare,
    nodes.Operand,
    nodes.BinExpr,
    nodes.UnaryExpr,
)


class _CountsTokens(Extension):
    """Stops the parser before it has read too much, in however many stretches."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._count = 0

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        for token in stream:
            self._count += 1
            if self._count > MOST_TOKENS:
                raise Refused(f"has more than {MOST_TOKENS:,} words and signs inside braces", token.lineno)
            yield token


def make_environment() -> ImmutableSandboxedEnvironment:
    """Return the sandbox that reads one template; it holds no function, filter or test of Jinja2's."""
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        extensions=[_CountsTokens],
        keep_trailing_newline=True,
        optimized=False,
        cache_size=0,
    )
    for table in (environment.globals, environment.filters, environment.tests):
        table.clear()
    return environment


@dataclass(frozen=True, slots=True)
class Known:
    """What there is to be used: the names of filters, tests, and methods of values."""

    filters: Collection[str]
    tests: Collection[str]
    methods: Collection[str]


def read(source: str, known: Known, environment: ImmutableSandboxedEnvironment) -> list[nodes.Node]:
    """Return the parts of `source` one after the other.

    Raises:
        Refused: It is not Jinja, or has a part that is not among what is allowed.
    """
    try:
        body = Parser(environment, source).parse().body
    except TemplateSyntaxError as error:
        raise Refused(f"is not Jinja: {error.message}", error.lineno) from None
    except RecursionError:
        raise Refused("has too many parts inside each other") from None
    except ValueError:
        # What Python says of a number with too many digits.
        raise Refused("makes a whole number with more than 64 bits") from None
    _check(body, known)
    return body


def _check(body: Iterable[nodes.Node], known: Known) -> None:
    waiting = [(node, 1) for node in body]
    while waiting:
        node, depth = waiting.pop()
        if depth > DEEPEST:
            raise Refused(f"has more than {DEEPEST} parts inside each other", node.lineno)
        if not isinstance(node, _ALLOWED):
            reason = _INSTEAD.get(type(node), f"{type(node).__name__.lower()} is not available")
            raise Refused(f"uses what a prompt has not: {reason}", node.lineno)
        _check_one(node, known)
        waiting += [(inner, depth + 1) for inner in node.iter_child_nodes()]


def _check_one(node: nodes.Node, known: Known) -> None:
    match node:
        case nodes.For(recursive=True):
            raise Refused("uses what a prompt has not: a recursive loop", node.lineno)
        case nodes.For(target=target) | nodes.Assign(target=target):
            names = target.items if isinstance(target, nodes.Tuple) else [target]
            if not all(isinstance(name, nodes.Name) for name in names):
                raise Refused(f"uses what a prompt has not: {_INSTEAD[nodes.NSRef]}", node.lineno)
        case nodes.AssignBlock(filter=nodes.Filter()):
            raise Refused(f"uses what a prompt has not: {_INSTEAD[nodes.FilterBlock]}", node.lineno)
        case nodes.Const(value=int() as value) if abs(value) > LARGEST_WHOLE_NUMBER:
            raise Refused("makes a whole number with more than 64 bits", node.lineno)
        case nodes.Call() | nodes.Filter() | nodes.Test():
            if node.dyn_args is not None or node.dyn_kwargs is not None:
                raise Refused("uses what a prompt has not: * or ** before an argument", node.lineno)
            _check_name(node, known)


def _check_name(node: nodes.Call | nodes.Filter | nodes.Test, known: Known) -> None:
    match node:
        case nodes.Filter(name=name):
            kind, names = "filter", known.filters
        case nodes.Test(name=name):
            kind, names = "test", known.tests
        case nodes.Call(node=nodes.Getattr(attr=name)):
            kind, names = "method", known.methods
        case nodes.Call(node=nodes.Name(name=name)) if name not in _NO_FUNCTIONS:
            return
        case nodes.Call(node=nodes.Name(name=name)):
            kind, names = "function", GLOBALS
        case _:
            raise Refused("calls what is no macro and no method of a value", node.lineno)
    if name not in names:
        raise Refused(f"has no {kind} {name!r}: {did_you_mean(name, sorted(names))}", node.lineno)


class FreeNames:
    """Finds the names that parts of a template read and do not make themselves.

    Parts are given in the order in which they stand; what one sets, those behind it do not read from outside.
    A name that is set in one branch alone counts as read from outside.
    """

    def __init__(self) -> None:
        self.made: set[str] = set()

    def of(self, node: nodes.Node) -> dict[str, int]:
        """Return the names that `node` reads from outside, each with the line of its first use."""
        found: dict[str, int] = {}
        self.made = self._walk(node, set(self.made), found)
        return found

    def _walk(self, node: Any, made: set[str], found: dict[str, int]) -> set[str]:
        """Add to `found` what `node` reads; return what has been made behind it."""
        match node:
            case nodes.Name():
                if node.name not in made and node.name not in GLOBALS:
                    found.setdefault(node.name, node.lineno)
            case nodes.If():
                return self._branches(node, made, found)
            case nodes.For():
                self._walk(node.iter, made, found)
                inside = made | _names(node.target)
                if node.test is not None:
                    self._walk(node.test, inside, found)
                self._all(node.body, inside | {"loop"}, found)
                self._all(node.else_, made, found)
            case nodes.Assign():
                self._walk(node.node, made, found)
                return made | _names(node.target)
            case nodes.AssignBlock():
                self._all(node.body, made, found)
                return made | _names(node.target)
            case nodes.Macro():
                self._all(node.defaults, made, found)
                arguments = {argument.name for argument in node.args}
                self._all(node.body, made | arguments | {node.name}, found)
                return made | {node.name}
            case nodes.Node():
                for inner in node.iter_child_nodes():
                    self._walk(inner, made, found)
        return made

    def _branches(self, node: nodes.If, made: set[str], found: dict[str, int]) -> set[str]:
        self._walk(node.test, made, found)
        ends = [self._all(node.body, made, found)]
        for branch in node.elif_:
            self._walk(branch.test, made, found)
            ends.append(self._all(branch.body, made, found))
        ends.append(self._all(node.else_, made, found))
        return set.intersection(*ends)

    def _all(self, body: Iterable[nodes.Node], made: set[str], found: dict[str, int]) -> set[str]:
        for node in body:
            made = self._walk(node, made, found)
        return made


def _names(target: nodes.Node) -> set[str]:
    return {name.name for name in target.find_all(nodes.Name)} | (
        {target.name} if isinstance(target, nodes.Name) else set()
    )
