"""Templates that were written to break out of the language, and objects that must never be touched."""

from __future__ import annotations

import gc
from collections import OrderedDict, UserDict
from typing import Any

import pytest

from engine.expressions import (
    ExpressionError,
    Json,
    Scope,
    compile_expression,
    compile_template,
    derived_entropy,
)
from engine.expressions.filters import FILTER_NAMES
from engine.expressions.predicates import PREDICATES
from tests.expressions import refusal_of, scope

CONTEXT: dict[str, Json] = {
    "x": "text",
    "n": 5,
    "items": [1, {"a": "b"}],
    "object": {"a": {"b": 1}},
    "trigger": {"payload": {"q": "{{ 7 * 7 }}"}},
    "nodes": {"a": {"output": None}},
}

REFUSED = {
    # Walks over the attributes of Python objects.
    "''.__class__": "type",
    "''.__class__.__mro__[1].__subclasses__()": "not_allowed",
    "''['__class__']": "type",
    "''['__cla' ~ 'ss__']": "type",
    "().__class__.__bases__[0]": "type",
    "[].__class__": "type",
    "{}.__class__": "unknown_key",
    "{}['__class__']['__mro__']": "unknown_key",
    "x.__init__.__globals__": "type",
    "n.__class__": "type",
    "n.real": "type",
    "true.__class__": "type",
    "none.__class__": "type",
    "object.__class__.__name__": "unknown_key",
    "object.__dict__": "unknown_key",
    "items.__len__": "type",
    "items[0].__add__": "type",
    "(x | upper).__class__": "type",
    "[1, 2][0].__class__": "type",
    "x['\\x5f\\x5fclass\\x5f\\x5f']": "type",
    "object['a']['__getitem__']": "unknown_key",
    "trigger.__reduce__": "unknown_key",
    "now.__globals__": "unknown_name",
    "now().__class__": "type",
    "range.__self__": "unknown_name",
    # Filters that reach for attributes, formats or code.
    "x | attr('__class__')": "unknown_filter",
    "x | attr('__cla' ~ 'ss__') | attr('__mro__')": "unknown_filter",
    "[x] | map(attribute='__class__') | list": "unknown_key",
    "[x] | map('attr', '__class__') | list": "unknown_filter",
    "items | selectattr('__class__')": "unknown_key",
    "items | groupby('__class__')": "unknown_key",
    "items | sort(attribute='__class__')": "unknown_key",
    "items | sum(attribute='__len__')": "unknown_key",
    "items | map('format', 1)": "unknown_filter",
    "'%s' | format(x)": "unknown_filter",
    "'{0.__class__}' | format(x)": "unknown_filter",
    "'{0.__class__}'.format(x)": "not_allowed",
    "'{0.__class__}'.format_map(object)": "not_allowed",
    "'%(a)s' % object": "type",
    "'%99999999999d' % 1": "type",
    "'%c' % 99": "type",
    "x | pprint": "unknown_filter",
    "x | xmlattr": "unknown_filter",
    "x | filesizeformat": "unknown_filter",
    "x | safe": "unknown_filter",
    "x | tojson | safe": "unknown_filter",
    "x | map('eval')": "unknown_filter",
    "x | eval": "unknown_filter",
    "x | exec": "unknown_filter",
    "x | import": "unknown_filter",
    "items | map(filter)": "arguments",
    "items | map(x)": "arguments",
    "items | select(x)": "arguments",
    "items | map(*items)": "not_allowed",
    "items | map(**object)": "not_allowed",
    "items | random": "unknown_filter",
    # The globals of template engines and web frameworks.
    "lipsum(n=200000)": "unknown_function",
    "lipsum.__globals__['os'].popen('id').read()": "not_allowed",
    "cycler.__init__.__globals__.os": "unknown_name",
    "cycler('a', 'b')": "unknown_function",
    "joiner.__init__.__globals__.os.popen('id').read()": "not_allowed",
    "joiner(',')": "unknown_function",
    "namespace(a=1)": "unknown_function",
    "namespace.__init__.__globals__": "unknown_name",
    "dict(a=1)": "unknown_function",
    "dict.__base__": "unknown_name",
    "self": "unknown_name",
    "self.__init__.__globals__.__builtins__": "unknown_name",
    "self._TemplateReference__context": "unknown_name",
    "config": "unknown_name",
    "config.items()": "not_allowed",
    "config.SECRET_KEY": "unknown_name",
    "request.application.__globals__": "unknown_name",
    "request['__cl' ~ 'ass__']": "unknown_name",
    "request | attr('application')": "unknown_filter",
    "url_for.__globals__": "unknown_name",
    "get_flashed_messages.__globals__": "unknown_name",
    "g.pop.__globals__": "unknown_name",
    "session": "unknown_name",
    "app.secret_key": "unknown_name",
    "environ": "unknown_name",
    "settings.SECRET_KEY": "unknown_name",
    "debug()": "unknown_function",
    "caller()": "unknown_function",
    "super()": "unknown_function",
    "varargs": "unknown_name",
    "loop.__class__": "unknown_name",
    "_": "unknown_name",
    "gettext('x')": "unknown_function",
    "context": "unknown_name",
    "environment": "unknown_name",
    "resolve('x')": "unknown_function",
    # The names and tricks of Python.
    "__import__('os').system('id')": "not_allowed",
    "__builtins__": "unknown_name",
    "open('/etc/passwd')": "unknown_function",
    "open('/etc/passwd').read()": "not_allowed",
    "eval('1+1')": "unknown_function",
    "exec('1')": "unknown_function",
    "getattr(x, '__class__')": "unknown_function",
    "globals()": "unknown_function",
    "locals()": "unknown_function",
    "vars()": "unknown_function",
    "type(x)": "unknown_function",
    "print(x)": "unknown_function",
    "os.environ": "unknown_name",
    "import('os')": "unknown_function",
    "lambda: 1": "syntax",
    "[i for i in items]": "syntax",
    "(i := 1)": "syntax",
    "x; x": "syntax",
    "f'{x}'": "syntax",
    "x if x": "not_allowed",
    "`id`": "syntax",
    "${7*7}": "syntax",
    "#{7*7}": "syntax",
    "@(1)": "syntax",
    "x!r": "syntax",
    "x.y()": "not_allowed",
    "x()": "unknown_function",
    "items.append(1)": "not_allowed",
    "items.pop()": "not_allowed",
    "object.update(a=1)": "not_allowed",
    "object.items()": "not_allowed",
    "object.get('a')": "not_allowed",
    "x.encode('rot13')": "not_allowed",
    "x.join(['a'])": "not_allowed",
    "n.to_bytes(99999999)": "not_allowed",
    "(x)()": "unknown_function",
    "items[0]()": "not_allowed",
    "now()()": "not_allowed",
    "(now)()()": "not_allowed",
    "[now][0]()": "not_allowed",
    "x is callable": "unknown_test",
    "x is filter": "unknown_test",
    "x is sameas none": "unknown_test",
    "x is escaped": "unknown_test",
    "x is mapping('a')": "arguments",
    # Too much of everything.
    "'a' * 300000000": "budget",
    "'a' * 10 * 10 * 10 * 10 * 10 * 10 * 10": "budget",
    "'a' | center(200000000)": "budget",
    "'a' | indent(200000000, true)": "budget",
    "[0] * 300000000": "budget",
    "[0] * 1000 * 1000": "budget",
    "range(1000000000)": "budget",
    "range(0, 99999999999999999999999)": "budget",
    "range(-99999999999999999999999, 0, 1)": "budget",
    "range(99999999999999999999999, 0, -1)": "budget",
    "10 ** 10000000": "not_allowed",
    "9 ** 9 ** 9": "not_allowed",
    "1 << 99999": "syntax",
    "('a' * 100000) | replace('a', 'a' * 1000)": "budget",
    "('a' * 100000) | replace('', 'a' * 100)": "budget",
    "('a,' * 100000) | split(',')": "budget",
    "([x] * 20000) | join('a' * 1000)": "budget",
    "([items] * 20000) | tojson": "budget",
    "range(40000) | map('string') | join | list": "budget",
    "(range(40000) | list) == (range(40000) | list)": "budget",
    "range(30000) | sort | unique | reverse": "budget",
    "range(3) | batch(99999999, 0)": "budget",
    "('[' * 100000) | fromjson": "budget",
    "('[' * 10000) | fromjson": "too_large",
    "('9' * 100000) | int": "too_large",
    "1 | round(999999999)": "value",
    "1.5 | fixed(999999999)": "value",
    "now() | date_format('%999999999d')": "value",
    "now() | date_add(years=999999999)": "value",
    "now() | date_add(days=1e300)": "value",
    "('ab' * 100000) | trim('ab' * 1000)": "value",
    "1e308 * 1e308": "number",
    "-1e999": "number",
}

REFUSED_TEMPLATES = {
    "{% import 'os' as os %}": "not_allowed",
    "{% from 'x' import y %}": "not_allowed",
    "{% include '/etc/passwd' %}": "not_allowed",
    "{% extends x %}": "not_allowed",
    "{% block a %}{% endblock %}": "not_allowed",
    "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}": "not_allowed",
    "{% call a() %}{% endcall %}": "not_allowed",
    "{% filter upper %}x{% endfilter %}": "not_allowed",
    "{% autoescape false %}{% endautoescape %}": "not_allowed",
    "{% with a = 1 %}{{ a }}{% endwith %}": "not_allowed",
    "{% do items.append(1) %}": "not_allowed",
    "{% trans %}x{% endtrans %}": "not_allowed",
    "{% debug %}": "not_allowed",
    "{% print(x) %}": "not_allowed",
    "{% set x.y = 1 %}": "not_allowed",
    "{% set ns = namespace(a=1) %}": "unknown_function",
    "{% set x %}{{ 1 }}{% endset %}": "not_allowed",
    "{% set x | upper %}{% endset %}": "not_allowed",
    "{% for c in [].__class__.__base__.__subclasses__() %}{{ c }}{% endfor %}": "not_allowed",
    "{% for c in x.__class__ %}{{ c }}{% endfor %}": "type",
    "{% for i in range(9999999999) %}{% endfor %}": "budget",
    "{% for a in range(300) %}{% for b in range(300) %}{% for c in range(300) %}x{% endfor %}{% endfor %}{% endfor %}": "budget",
    "{% for i in range(10000) %}{{ 'a' * 1000 }}{% endfor %}": "budget",
    "{% for i in range(40000) %}{{ i }}{{ i }}{% endfor %}": "budget",
    "{% for i in items recursive %}{{ loop(items) }}{% endfor %}": "not_allowed",
    "{% if ''.__class__ %}{% endif %}": "type",
    "{{ '{{ 7*7 }}' | safe }}": "unknown_filter",
    "{{ x }": "syntax",
    "{{ {{ x }} }}": "syntax",
    "${{<%[%'\"}}%\\.": "syntax",
    "{{" * 5_000: "too_large",
    "{{ " + "[" * 5_000: "too_large",
    "{{ " + "x." * 8_000 + "x }}": "too_large",
    "{{ " + "x|upper" * 2_000 + " }}": "too_large",
    "{{ " + "x ~ " * 4_000 + "x }}": "too_large",
    "{{ " + "x + " * 4_000 + "x }}": "too_large",
    "{{ " + "x and " * 2_500 + "x }}": "too_large",
    "{% if x %}" * 1_600: "too_large",
    "{{ " + "9" * 16_000 + " }}": "too_large",
    "{{ 0x" + "f" * 16_000 + " }}": "too_large",
}  # fmt: skip

PLAIN_TEXT = [
    "${7*7}", "#{7*7}", "<%= 7*7 %>", "@(7*7)", "{7*7}", "[[${7*7}]]", "#set($x=1)", "*{7*7}",
    "${T(java.lang.Runtime).getRuntime()}", "{php}echo 1;{/php}", "$smarty.version", "{ { x } }", "%}{%}{"[:2],
]  # fmt: skip


@pytest.mark.parametrize("expression", REFUSED)
def test_a_hostile_expression_is_refused(expression: str) -> None:
    with pytest.raises(ExpressionError) as bare:
        compile_expression(expression).evaluate(scope(**CONTEXT))

    assert bare.value.code == f"expression.{REFUSED[expression]}"
    assert refusal_of("{{ " + expression + " }}", **CONTEXT).code.startswith("expression.")
    assert refusal_of("{% if " + expression + " %}{% endif %}", **CONTEXT).code.startswith("expression.")


@pytest.mark.parametrize("source", REFUSED_TEMPLATES, ids=lambda source: source[:60])
def test_a_hostile_template_is_refused(source: str) -> None:
    assert refusal_of(source, **CONTEXT).code == f"expression.{REFUSED_TEMPLATES[source]}"


@pytest.mark.parametrize("source", PLAIN_TEXT)
def test_the_tags_of_other_languages_are_text(source: str) -> None:
    assert compile_template(source).evaluate(scope(**CONTEXT)) == source


@pytest.mark.parametrize("expression", REFUSED)
def test_a_hostile_text_in_the_data_is_data(expression: str) -> None:
    payload = "{{ " + expression + " }}"

    assert compile_template("{{ x }}").evaluate(scope(x=payload)) == payload
    assert compile_template("a {{ x ~ x }}").evaluate(scope(x=payload)) == f"a {payload}{payload}"
    assert compile_template("{{ [x] | map('string') | first }}").evaluate(scope(x=payload)) == payload


class Touched(BaseException):
    """A method of an object ran that was not JSON. Not an `Exception`, so that nobody handles it by chance."""


def _touch(self: object, *_: object, **__: object) -> Any:
    raise Touched


_QUIET = {
    "__class__",
    "__new__",
    "__init__",
    "__init_subclass__",
    "__subclasshook__",
    "__del__",
    "__doc__",
    "__qualname__",
    "__name__",
    "__module__",
}
_METHODS = {
    name
    for kind in (object, int, float, str, bytes, list, dict, set, type(lambda: 0), complex, range)
    for name in dir(kind)
    if name.startswith("__") and name not in _QUIET
} | {
    "__bool__",
    "__enter__",
    "__exit__",
    "__html__",
    "__html_format__",
    "__getattr__",
    "__fspath__",
    "__await__",
}
Trap = type("Trap", (), dict.fromkeys(_METHODS, _touch))
TrapText = type("TrapText", (str,), dict.fromkeys(_METHODS, _touch))
TrapList = type("TrapList", (list,), dict.fromkeys(_METHODS, _touch))
TrapDict = type("TrapDict", (dict,), dict.fromkeys(_METHODS, _touch))
TrapInt = type("TrapInt", (int,), dict.fromkeys(_METHODS, _touch))

_SAMPLES = {"replace": "('a', 'b')", "truncate": "(3)", "batch": "(2)", "get": "('a')", "groupby": "('a')"}
_ARGUMENTS = {
    "removeprefix": "('a')", "removesuffix": "('a')", "startswith": "('a')", "endswith": "('a')", "contains": "(1)",
    "zip": "([1])", "union": "([1])", "intersect": "([1])", "difference": "([1])", "merge": "({'a': 1})",
    "pick": "('a')", "omit": "('a')", "date_diff": "('2024-01-01')", "map": "(attribute='a')",
    "selectattr": "('a')", "rejectattr": "('a')", "divisibleby": "(3)", "in": "([1])",
} | _SAMPLES  # fmt: skip


def _shapes(trap: Any) -> dict[str, Any]:
    """Return a trap, and values that are JSON from the outside and have a trap inside."""
    return {
        "bare": trap,
        "alone": [trap],
        "behind": [1, trap],
        "other": ["a", trap],
        "inside": {"a": trap},
        "row": [{"a": trap}],
        "pair": [["a", trap]],
        "deep": [[trap]],
        "x": [1],
    }


USES = [
    "@", "(@).a", "(@)[0]", "(@)['a']", "(@)[x]", "(@)[1:]", "(@)[x[0] - 1]",
    "x[@]", "'abc'[@:]", "(@) + 1", "1 + (@)", "(@) + (@)",
    "(@) * 2", "2 * (@)", "(@) / 2", "(@) // 2", "(@) % 2", "-(@)", "+(@)", "(@) ~ 'a'", "'a' ~ (@)",
    "(@) == 1", "1 == (@)", "(@) == (@)", "(@) != 1", "(@) < 1", "1 >= (@)", "(@) in [1]", "1 in (@)",
    "'a' in (@)", "(@) and 1", "(@) or 1", "not (@)", "1 if (@) else 2", "(@) if true else 2", "[(@)]",
    "{'a': (@)}", "{(@): 1}", "(@) | default(1)", "(@) | default(1, true)", "(@) is defined",
    "range(@)", "min(@, 1)", "max(@)", "[1] | map('default', (@), true)", "[1] | join(@)", "'a' | replace('a', @)",
    "(@) | map('upper')", "(@) | map('string')", "(@) | map(attribute='a', default=1)", "(@) | select('eq', 1)",
    "(@) | selectattr('a', 'defined')", "(@) | select('in', [1])", "(@) | reject('empty')", "(@) | sort(attribute='a')",
    "(@) | unique(attribute='a')", "(@) | sum(attribute='a')", "(@) | join(attribute='a')", "[1, 2] | contains(@)",
    "(@) | tojson(indent=2)", "(@) | dictsort(by='value')", "(@) | sort(case_sensitive=false)",
    "(@) | map('default', 1, true)", "(@) | map('length')", "(@) | map('first')", "(@) | map('get', 'a')",
]  # fmt: skip


STATEMENT_USES = [
    "{% if @ %}a{% endif %}", "{% for i in @ %}{{ i }}{% endfor %}", "{% for i in @ %}{% if i %}{% endif %}{% endfor %}",
    "{% set a = @ %}{{ a }}", "{% for a, b in @ %}{{ a }}{{ b }}{% endfor %}", "{% set a, b = @ %}{{ b }}",
    "{% for i in [1] if @ %}{{ i }}{% endfor %}", "{% for i in @ if i %}{{ i }}{% endfor %}",
    "{% for i in @ %}{{ i.a }}{{ i[0] }}{% endfor %}", "{% for i in @ %}{{ loop.index }}{% endfor %}",
]  # fmt: skip


def _uses() -> list[str]:
    filters = [f"(@) | {name}{_ARGUMENTS.get(name, '')}" for name in FILTER_NAMES]
    tests = [f"(@) is {name}{_ARGUMENTS.get(name, '')}" for name in PREDICATES if name not in ("eq", "ne")]
    ordered = ("equalto", "lt", "lessthan", "le", "gt", "greaterthan", "ge")
    tests = [f"{each}(1)" if each.rsplit(" ", 1)[1] in ordered else each for each in tests]
    return USES + filters + tests


@pytest.mark.parametrize(
    "trap", [Trap, TrapText, TrapList, TrapDict, TrapInt], ids=lambda kind: kind.__name__
)
def test_an_object_that_is_not_json_is_never_touched(trap: type) -> None:
    """Whatever an expression does with it, no method runs; only its exact type is looked at."""
    values = _shapes(trap())
    outcomes = set()
    for shape in values:
        for use in (*_uses(), *STATEMENT_USES):
            source = use.replace("@", shape) if "{%" in use else f"{{{{ {use.replace('@', shape)} }}}}"
            outcomes.add(_outcome(source, values))
            outcomes.add(_outcome(f"<{source}>", values))

    assert "expression.type" in outcomes
    assert {outcome for outcome in outcomes if outcome.startswith("a ")} <= {"a result of JSON"}


def _outcome(source: str, values: dict[str, Any]) -> str:
    try:
        result: object = compile_template(source).evaluate(Scope(values, derived_entropy(b"", 0)))
    except ExpressionError as error:
        return error.code
    return (
        "a result of JSON"
        if type(result) in (type(None), bool, int, float, str, list, dict)
        else f"a {type(result)}"
    )


@pytest.mark.parametrize(
    "value",
    [
        object(),
        (1, 2),
        {1},
        b"bytes",
        1j,
        lambda: 1,
        OrderedDict(a=1),
        UserDict(a=1),
        range(3),
        type,
        Exception(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_python_objects_in_a_scope_are_refused(value: Any) -> None:
    for source in (
        "{{ v }}",
        "{{ v.a }}",
        "{{ v[0] }}",
        "{{ o.v }}",
        "{{ [v] }}",
        "{{ v ~ '' }}",
        "{{ o | tojson }}",
    ):
        with pytest.raises(ExpressionError) as caught:
            compile_template(source).evaluate(Scope({"v": value, "o": {"v": value}}, derived_entropy(b"", 0)))
        assert caught.value.code == "expression.type"


def test_keys_that_are_not_text_are_refused() -> None:
    values: dict[str, Any] = {"o": {1: "a"}}
    for source in (
        "{{ o | tojson }}",
        "{{ o | items }}",
        "{{ o == {'a': 1} }}",
        "{{ [o] | unique }}",
        "{{ o | urlencode }}",
    ):
        with pytest.raises(ExpressionError) as caught:
            compile_template(source).evaluate(Scope(values, derived_entropy(b"", 0)))
        assert caught.value.code == "expression.type"


def test_numbers_that_collide_on_purpose_cost_no_more_than_others() -> None:
    """All of these have the hash 0, which would make a dictionary of them take minutes."""
    colliding: list[Json] = [number * (2**61 - 1) for number in range(10_000)]

    assert compile_template("{{ x | unique | length }}").evaluate(scope(x=colliding)) == 10_000


def test_an_evaluation_leaves_nothing_behind() -> None:
    templates = [
        compile_template("{{ x | map('upper') | join(',') }}"),
        compile_template("{% for i in x %}{{ i }}{% endfor %}"),
    ]
    for template in templates:
        template.evaluate(scope(x=["a"]))
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(100):
        for template in templates:
            template.evaluate(scope(x=["a"]))
    gc.collect()

    assert len(gc.get_objects()) - before < 50
