from __future__ import annotations

import pytest

from engine.expressions import Reference, compile_expression, compile_template, compile_value


def paths(source: str) -> list[tuple[str | int, ...]]:
    return [reference.path for reference in compile_template(source).references]


def guarded(source: str) -> list[tuple[str, bool]]:
    references = compile_template(source).references
    return [(".".join(map(str, reference.path)), reference.guarded) for reference in references]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("plain", []),
        ("{{ 1 + 2 }}", []),
        ("{{ a }}", [("a",)]),
        ("{{ a.b['c'][0][-1].d }}", [("a", "b", "c", 0, -1, "d")]),
        ("{{ a.b[c.d].e }}", [("a", "b"), ("c", "d")]),
        ("{{ a[1:b].c }}", [("a",), ("b",)]),
        ("{{ a + b * -c }}", [("a",), ("b",), ("c",)]),
        ("{{ a ~ b and c or not d }}", [("a",), ("b",), ("c",), ("d",)]),
        ("{{ a < b in c }}", [("a",), ("b",), ("c",)]),
        ("{{ a if b else c }}", [("b",), ("a",), ("c",)]),
        ("{{ [a, (b, c)], {d: e} }}", [("a",), ("b",), ("c",), ("d",), ("e",)]),
        ("{{ a | replace(b, new=c) }}", [("a",), ("b",), ("c",)]),
        ("{{ a | map('replace', b, c) }}", [("a",), ("b",), ("c",)]),
        ("{{ a | selectattr(b, 'eq', c) }}", [("a",), ("b",), ("c",)]),
        ("{{ a is divisibleby b }}", [("a",), ("b",)]),
        ("{{ range(a, b) }}", [("a",), ("b",)]),
        ("{{ now() }} {{ now }}", [("now",)]),
        ("x {{ a }} {{ a }}", [("a",), ("a",)]),
        ("{% if a %}{{ b }}{% elif c %}{{ d }}{% else %}{{ e }}{% endif %}", [("a",), ("b",), ("c",), ("d",), ("e",)]),
        ("{% for i in a if i.x %}{{ i.y }}{{ loop.index }}{{ b }}{% else %}{{ c }}{% endfor %}", [("a",), ("b",), ("c",)]),
        ("{% for k, v in a %}{{ k }}{{ v }}{% endfor %}{{ k }}", [("a",), ("k",)]),
        ("{% for i in i %}{{ i }}{% endfor %}", [("i",)]),
        ("{{ loop.index }}", [("loop", "index")]),
        ("{{ x }}{% set x = y.z %}{{ x.a }}", [("x",), ("y", "z")]),
        ("{% set x = x %}{{ x }}", [("x",)]),
        ("{% if a %}{% set x = 1 %}{% else %}{% set x = 2 %}{% endif %}{{ x }}", [("a",)]),
        ("{% set x = 1 %}{% if a %}{% set x = 2 %}{% endif %}{{ x }}", [("a",)]),
        ("{% for i in a %}{% set x = i %}{{ x }}{% endfor %}{{ x }}", [("a",), ("x",)]),
        ("{{ null }}{{ none }}{{ true }}", []),
        ("{% raw %}{{ a }}{% endraw %}", []),
        ("{# {{ a }} #}", []),
    ],
)  # fmt: skip
def test_what_a_template_reads_is_known_before_it_runs(
    source: str, expected: list[tuple[str | int, ...]]
) -> None:
    assert paths(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ a }}", [("a", False)]),
        ("{{ a.b | default(c.d) }}", [("a.b", True), ("c.d", False)]),
        ("{{ a | default(b | d(1)) }}", [("a", True), ("b", True)]),
        ("{{ a | upper | default('') }}", [("a", False)]),
        ("{{ a[b].c | default(1) }}", [("a", True), ("b", False)]),
        ("{{ a | first | default(1) }}", [("a", False)]),
        ("{{ a.b is defined }}", [("a.b", True)]),
        ("{{ a is not defined or a.b }}", [("a", True), ("a.b", True)]),
        ("{{ a.b if a.b is defined else c }}", [("a.b", True), ("a.b", True), ("c", False)]),
        ("{% if a.b is defined %}{{ a.b.c }}{{ a.d }}{% endif %}", [("a.b", True), ("a.b.c", True), ("a.d", False)]),
        ("{{ a.b.c if a is undefined else a.b.c.d }}", [("a", True), ("a.b.c", True), ("a.b.c.d", True)]),
        ("{% if x %}{% set y = 1 %}{% endif %}{{ y }}", [("x", False), ("y", True)]),
        ("{% set a = 1 %}{{ a is defined }}", []),
        ("{{ (a + b) is defined }}", [("a", False), ("b", False)]),
    ],
)  # fmt: skip
def test_a_reference_whose_absence_is_coped_with_is_guarded(
    source: str, expected: list[tuple[str, bool]]
) -> None:
    assert guarded(source) == expected


def test_a_reference_has_its_place() -> None:
    template = compile_template("Dear {{ name }},\n\n  {%- if order.paid %} {{ order['no'] }}{% endif %}")

    assert template.references == (
        Reference(("name",), 1, 9, guarded=False),
        Reference(("order", "paid"), 3, 10, guarded=False),
        Reference(("order", "no"), 3, 27, guarded=False),
    )


def test_the_place_in_an_expression_counts_from_its_own_beginning() -> None:
    assert compile_expression("a >\n  b").references == (
        Reference(("a",), 1, 1, guarded=False),
        Reference(("b",), 2, 3, guarded=False),
    )


def test_a_compiled_value_knows_the_references_of_all_its_templates() -> None:
    compiled = compile_value({"{{ key }}": "{{ a }}", "b": ["{{ b.c }}", 1, "text"]})

    assert [reference.path for reference in compiled.references] == [("a",), ("b", "c")]
