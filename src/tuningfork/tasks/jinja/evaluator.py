"""Templates filled by walking Jinja2's tree, one counted step at a time.

Jinja2 compiles a template to Python code, which runs until it is done. What is walked can be stopped at every
step, looks at no attribute of any Python object, and knows of each stretch of text whether the template or a
value says it.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import StrictUndefined, Undefined, UndefinedError, nodes

from tuningfork.tasks.jinja.budget import Budget, Refused
from tuningfork.tasks.jinja.filters import FILTERS, TESTS, apply_filter, apply_test
from tuningfork.tasks.jinja.grammar import Known
from tuningfork.tasks.jinja.methods import METHODS, call_method
from tuningfork.tasks.jinja.operations import (
    as_text,
    calculate,
    compare,
    items_of,
    kind_of,
    negate,
    number_range,
    part_of,
)

KNOWN = Known(FILTERS, TESTS, METHODS)
"""What templates may use."""

Scope = dict[str, Any]
_HALF_A_PAIR = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Written:
    """A stretch of text, and whether it is data: what a value says, and not the template."""

    text: str
    is_data: bool


@dataclass(frozen=True, slots=True)
class _Macro:
    """A named piece of a template."""

    node: nodes.Macro


class _Loop(dict[str, Any]):
    """What a template knows of the loop that it is in."""


class Evaluator:
    """Fills one template once: its parts in their order, which see what those before them have set.

    `texts` are the values of variables as they stand in the data; `values`, what they are when a template
    counts or compares them.
    """

    def __init__(self, texts: Mapping[str, str], values: Mapping[str, Any] | None = None) -> None:
        self._texts = texts
        self._budget = Budget()
        self._outer: Scope = {}
        self._scopes: list[Scope] = [dict(texts if values is None else values), self._outer]
        self._written: list[Written] = []
        self._statements: dict[type[nodes.Node], Callable[[Any], None]] = {
            nodes.Output: self._output,
            nodes.If: self._if,
            nodes.For: self._for,
            nodes.Assign: self._assign,
            nodes.AssignBlock: self._assign_block,
            nodes.Macro: self._define,
        }

    def write(self, node: nodes.Node) -> list[Written]:
        """Return what `node`, a statement or an expression, writes.

        Raises:
            Refused: It takes too much, or cannot be done with these values.
        """
        before, self._written = self._written, []
        try:
            if isinstance(node, nodes.Expr):
                self._print(node)
            else:
                self._run([node])
            return self._written
        except RecursionError:
            raise Refused("has too many parts inside each other", node.lineno) from None
        except Refused as error:
            raise Refused(str(error), error.line or node.lineno) from None
        finally:
            self._written = before

    def _run(self, body: Iterable[nodes.Node]) -> None:
        for node in body:
            self._budget.step()
            self._statements[type(node)](node)

    def _output(self, node: nodes.Output) -> None:
        for part in node.nodes:
            self._print(part)

    def _print(self, part: nodes.Expr) -> None:
        if isinstance(part, nodes.TemplateData):
            self._say(part.data, is_data=False)
        elif isinstance(part, nodes.Name) and self._is_variable(part.name):
            # As it stands in the data, whatever it counts as.
            self._budget.step()
            self._budget.characters(len(self._texts[part.name]))
            self._say(self._texts[part.name], is_data=True)
        else:
            self._say(as_text(self._budget, self._value(part)), is_data=True)

    def _say(self, text: str, *, is_data: bool) -> None:
        self._budget.characters(len(text))
        if not text.isascii() and _HALF_A_PAIR.search(text):
            raise Refused("writes half of a surrogate pair, which is no character")
        if text:
            self._written.append(Written(text, is_data))

    def _is_variable(self, name: str) -> bool:
        return name in self._texts and not any(name in scope for scope in self._scopes[1:])

    def _if(self, node: nodes.If) -> None:
        for branch in (node, *node.elif_):
            if self._value(branch.test):
                return self._run(branch.body)
        return self._run(node.else_)

    def _for(self, node: nodes.For) -> None:
        items = items_of(self._budget, self._value(node.iter))
        if node.test is not None:
            items = [item for item in items if self._passes(node, node.test, item)]
        if not items:
            return self._run(node.else_)
        for index, item in enumerate(items):
            self._scopes.append(self._bound(node.target, item) | {"loop": _loop(items, index)})
            try:
                self._run(node.body)
            finally:
                self._scopes.pop()
        return None

    def _passes(self, node: nodes.For, test: nodes.Node, item: object) -> bool:
        self._scopes.append(self._bound(node.target, item))
        try:
            return bool(self._value(test))
        finally:
            self._scopes.pop()

    def _bound(self, target: nodes.Node, value: object) -> Scope:
        self._budget.step()
        if isinstance(target, nodes.Name):
            return {target.name: value}
        assert isinstance(target, nodes.Tuple)
        if not isinstance(value, str | list | tuple | dict) or len(value) != len(target.items):
            found = f"{len(value)} values" if isinstance(value, str | list | tuple | dict) else kind_of(value)
            raise Refused(f"names {len(target.items)} values at once, found {found}", target.lineno)
        names = [name.name for name in target.items if isinstance(name, nodes.Name)]
        return dict(zip(names, value, strict=True))

    def _assign(self, node: nodes.Assign) -> None:
        self._scopes[-1].update(self._bound(node.target, self._value(node.node)))

    def _assign_block(self, node: nodes.AssignBlock) -> None:
        self._scopes[-1].update(self._bound(node.target, self._captured(node.body)))

    def _captured(self, body: Sequence[nodes.Node]) -> str:
        before, self._written = self._written, []
        try:
            self._run(body)
            return "".join(written.text for written in self._written)
        finally:
            self._written = before

    def _define(self, node: nodes.Macro) -> None:
        self._scopes[-1][node.name] = _Macro(node)

    def _value(self, node: nodes.Node) -> Any:
        """Return what `node` is.

        Raises:
            Refused: It is nothing.
        """
        value = self._maybe(node)
        if isinstance(value, Undefined):
            raise Refused(f"reads what is not there: {value._undefined_message}", node.lineno)
        return value

    def _maybe(self, node: nodes.Node) -> Any:
        """Return what `node` is, or a `StrictUndefined`."""
        self._budget.step()
        try:
            return self._evaluated(node)
        except UndefinedError as error:
            raise Refused(f"reads what is not there: {error.message}", node.lineno) from None
        except Refused as error:
            raise Refused(str(error), error.line or node.lineno) from None

    def _evaluated(self, node: nodes.Node) -> Any:
        match node:
            case nodes.Name(name=name):
                return self._named(name)
            case nodes.Const(value=value):
                return value
            case nodes.List() | nodes.Tuple():
                found = [self._value(item) for item in node.items]
                return found if isinstance(node, nodes.List) else tuple(found)
            case nodes.Dict(items=pairs):
                return {self._key(pair.key): self._value(pair.value) for pair in pairs}
            case nodes.Getattr(node=whole, attr=name):
                return part_of(self._budget, self._value(whole), name)
            case nodes.Getitem(node=whole, arg=key):
                return part_of(self._budget, self._value(whole), self._index(key))
            case nodes.Filter() | nodes.Test() | nodes.Call():
                return self._applied(node)
            case _:
                return self._combined(node)

    def _combined(self, node: nodes.Node) -> Any:
        match node:
            case nodes.CondExpr(test=test, expr1=yes, expr2=no):
                if self._value(test):
                    return self._maybe(yes)
                return (
                    StrictUndefined("a condition in one line has no else") if no is None else self._maybe(no)
                )
            case nodes.And(left=left, right=right):
                return self._value(left) and self._value(right)
            case nodes.Or(left=left, right=right):
                return self._value(left) or self._value(right)
            case nodes.Not(node=inner):
                return not self._value(inner)
            case nodes.Neg(node=inner) | nodes.Pos(node=inner):
                return negate(type(node).__name__.lower(), self._value(inner))
            case nodes.Concat(nodes=parts):
                return "".join([as_text(self._budget, self._value(part)) for part in parts])
            case nodes.Compare(expr=first, ops=operands):
                return self._compared(first, operands)
            case nodes.BinExpr(left=left, right=right):
                name = type(node).__name__.lower()
                return calculate(self._budget, name, self._value(left), self._value(right))
        raise Refused(f"has {type(node).__name__.lower()} where no value can be")

    def _named(self, name: str) -> Any:
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        return StrictUndefined(name=name)

    def _key(self, node: nodes.Node) -> object:
        key = self._value(node)
        if not isinstance(key, str | int | float | None):
            raise Refused(f"has {kind_of(key)} as a key")
        return key

    def _index(self, node: nodes.Node) -> object:
        if not isinstance(node, nodes.Slice):
            return self._value(node)
        ends = (node.start, node.stop, node.step)
        return slice(*(None if end is None else self._value(end) for end in ends))

    def _compared(self, first: nodes.Node, operands: Sequence[nodes.Operand]) -> bool:
        left = self._value(first)
        for operand in operands:
            right = self._value(operand.expr)
            if not compare(self._budget, operand.op, left, right):
                return False
            left = right
        return True

    def _applied(self, node: nodes.Filter | nodes.Test | nodes.Call) -> Any:
        if isinstance(node, nodes.Call):
            return self._called(node)
        assert node.node is not None
        value = self._maybe(node.node)
        arguments = [self._value(argument) for argument in node.args]
        if isinstance(node, nodes.Filter):
            named = self._named_arguments(node)
            return apply_filter(self._budget, node.name, value, arguments, named)
        if node.kwargs:
            raise Refused(f"gives the test {node.name!r} a named argument")
        return apply_test(self._budget, node.name, value, arguments)

    def _named_arguments(self, node: nodes.Filter | nodes.Call) -> dict[str, Any]:
        return {str(argument.key): self._value(argument.value) for argument in node.kwargs}

    def _called(self, node: nodes.Call) -> Any:
        arguments = [self._value(argument) for argument in node.args]
        named = self._named_arguments(node)
        if isinstance(node.node, nodes.Getattr):
            value = self._value(node.node.node)
            if named:
                raise Refused(f"gives the method {node.node.attr!r} a named argument")
            if node.node.attr == "cycle" and isinstance(value, _Loop) and arguments:
                return arguments[value["index0"] % len(arguments)]
            return call_method(self._budget, value, node.node.attr, arguments)
        assert isinstance(node.node, nodes.Name)
        function = self._maybe(node.node)
        if isinstance(function, _Macro):
            return self._call_macro(function.node, arguments, named)
        if node.node.name == "range" and isinstance(function, Undefined) and not named:
            return number_range(self._budget, *arguments)
        raise Refused(f"calls {node.node.name!r}, which is no macro")

    def _call_macro(self, macro: nodes.Macro, arguments: list[Any], named: dict[str, Any]) -> str:
        names = [argument.name for argument in macro.args]
        unknown = [name for name in named if name not in names[len(arguments) :]]
        if len(arguments) > len(names) or unknown:
            raise Refused(f"gives the macro {macro.name!r} other arguments than {', '.join(names) or 'none'}")
        self._budget.open_call()
        scopes = self._scopes
        # A macro sees what stands at the outermost level, and not the loop that it is called in.
        self._scopes = [scopes[0], self._outer, {}]
        try:
            given = dict(zip(names, arguments, strict=False)) | named
            defaults = dict(zip(reversed(names), reversed(macro.defaults), strict=False))
            for name in names:
                if name in given:
                    self._scopes[-1][name] = given[name]
                elif name in defaults:
                    self._scopes[-1][name] = self._value(defaults[name])
                else:
                    self._scopes[-1][name] = StrictUndefined(
                        f"parameter {name!r} was not provided", name=name
                    )
            return self._captured(macro.body)
        finally:
            self._scopes = scopes
            self._budget.close_call()


def _loop(items: Sequence[object], index: int) -> _Loop:
    count = len(items)
    return _Loop(
        index=index + 1,
        index0=index,
        revindex=count - index,
        revindex0=count - index - 1,
        first=index == 0,
        last=index == count - 1,
        length=count,
    )
