import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.checking import source
from engine.checking.source import Spot

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\x00")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abc~/\n", max_size=3), inner, max_size=4)
    ),
    max_leaves=20,
)


def flaws_of(text: str | bytes, **limits: int) -> list[tuple[str, str, tuple[int, int]]]:
    read = source.read(text, **limits)
    return [(each.code, source.pointer(each.path), read.position(each.at)) for each in read.flaws]


@given(json_values, st.sampled_from([None, 1, 4]))
def test_what_json_reads_is_read_alike_and_without_flaws(value: object, indent: int | None) -> None:
    for text in (json.dumps(value, indent=indent), json.dumps(value, ensure_ascii=False)):
        read = source.read(text.encode())
        assert (value, ()) == (read.value, read.flaws)


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert source.read(b'\xef\xbb\xbf{"a": 1}').value == {"a": 1}


def test_every_flaw_is_told_with_its_place_and_the_value_is_still_good_for_further_checks() -> None:
    text = """{"a": 1,
 "a": {"b": NaN, "c": -Infinity},
 "d": ["\\ud800x", 1e999, "\\u0000", 2e3, 7, true]}"""
    read = source.read(text)
    assert flaws_of(text) == [
        ("definition.duplicate_key", "/a", (2, 2)),
        ("definition.bad_number", "/a/b", (2, 13)),
        ("definition.bad_number", "/a/c", (2, 23)),
        ("definition.bad_text", "/d/0", (3, 8)),
        ("definition.bad_number", "/d/1", (3, 19)),
        ("definition.bad_text", "/d/2", (3, 26)),
    ]
    assert read.value == {"a": {"b": 0, "c": 0}, "d": ["\ufffdx", 0, "\ufffd", 2000.0, 7, True]}
    assert not read.broken


def test_a_key_with_unusable_text_is_a_flaw() -> None:
    assert flaws_of('{"a\\ud800": 1}') == [("definition.bad_text", "/a\ud800", (1, 2))]


def test_text_that_came_with_half_characters_is_a_flaw() -> None:
    assert flaws_of('"\ud800"') == [("definition.bad_text", "", (1, 1))]


def test_two_escapes_that_make_one_character_are_no_flaw() -> None:
    read = source.read(r'"\ud83d\ude00"')
    assert (read.value, read.flaws) == ("😀", ())


@pytest.mark.parametrize(
    ("digits", "flaws"), [(309, []), (310, ["definition.bad_number"]), (5000, ["definition.bad_number"])]
)
def test_an_integer_has_at_most_the_digits_of_a_double(digits: int, flaws: list[str]) -> None:
    assert flaws == [code for code, _, _ in flaws_of("1" * digits)]
    assert flaws == [
        code for code, _, _ in flaws_of('{"a": 1, "a": ' + "1" * digits + "}") if "number" in code
    ]


@pytest.mark.parametrize(("opened", "inside", "closed"), [("[", "", "]"), ('{"a":', "1", "}")])
def test_nesting_of_64_levels_is_read_and_one_more_is_not(opened: str, inside: str, closed: str) -> None:
    assert flaws_of(opened * 64 + inside + closed * 64) == []
    step = "/0" if opened == "[" else "/a"
    place = (1, 1 + 64 * len(opened))
    assert [("definition.too_deep", step * 64, place)] == flaws_of(opened * 65 + inside + closed * 65)


def test_a_text_that_nests_without_end_is_refused_with_the_place_where_it_becomes_too_deep() -> None:
    text = '{"v": [{}, []], "x": [1, {"y": "[{\\"", "z": ' + "[" * 100_000
    assert flaws_of(text) == [("definition.too_deep", "/x/1/z" + "/0" * 61, (1, text.index("[[[") + 62))]


def test_the_size_is_counted_in_bytes() -> None:
    text = '"' + "ä" * 10 + '"'
    assert flaws_of(text, max_bytes=22) == []
    assert flaws_of(text, max_bytes=21) == [("definition.too_large", "", (1, 1))]
    assert flaws_of(text.encode(), max_bytes=21) == [("definition.too_large", "", (1, 1))]


def test_bytes_that_are_no_utf_8_are_placed_after_what_can_be_read() -> None:
    assert flaws_of('{\n"ä'.encode() + b"\xff\x00") == [("definition.not_utf8", "", (2, 3))]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("", (1, 1), "empty"),
        ("{", (1, 2), "ends before"),
        ('{"a": 1,}', (1, 8), "comma stands before the end"),
        ("[1,,2]", (1, 4), "value is expected"),
        ("[1,\n]", (1, 3), "comma stands before the end"),
        ("{'a': 1}", (1, 2), "double quotes"),
        ('{"a": 1} {', (1, 10), "follows the end"),
        ('{"a" 1}', (1, 6), "colon"),
        ("[1 2]", (1, 4), "comma or the end"),
        ('{"a": 1, // note\n}', (1, 10), "no comments"),
        ('{\n"a": True}', (2, 6), "value is expected"),
        ('{"a": "x\ny"}', (1, 9), "control character"),
        (r'{"a": "\q"}', (1, 8), "no escape"),
        ('{"a": "x', (1, 7), "never closed"),
        ("{a: 1}", (1, 2), "key in double quotes"),
    ],
)
def test_what_is_no_json_is_refused_in_words_about_the_text(
    text: str, place: tuple[int, int], words: str
) -> None:
    read = source.read(text)
    assert [("definition.not_json", "", place)] == flaws_of(text)
    assert words in read.flaws[0].message
    assert read.broken


TEXT = """{
  "a~/b": [10, {"c": "one\\ntwo \\ud83d\\ude00 \\u0041 {{ x }}"}],
  "d": {}
}"""


@pytest.mark.parametrize(
    ("spot", "place"),
    [
        (Spot(()), (1, 1)),
        (Spot(("a~/b",)), (2, 11)),
        (Spot(("a~/b",), key=True), (2, 3)),
        (Spot(("a~/b", 0)), (2, 12)),
        (Spot(("a~/b", 1, "c")), (2, 22)),
        (Spot(("a~/b", 1, "c"), inside=(1, 2)), (2, 24)),
        (Spot(("a~/b", 1, "c"), inside=(2, 1)), (2, 28)),
        (Spot(("a~/b", 1, "c"), inside=(2, 5)), (2, 32)),
        (Spot(("a~/b", 1, "c"), inside=(2, 7)), (2, 45)),
        (Spot(("a~/b", 1, "c"), inside=(2, 9)), (2, 52)),
        (Spot(("a~/b", 1, "c"), inside=(9, 9)), (2, 59)),
        (Spot(("d", "missing", "deeper")), (3, 8)),
        (Spot(("d", "missing"), key=True), (3, 8)),
        (Spot(("a~/b", 7)), (2, 11)),
    ],
)
def test_a_place_in_the_value_is_found_in_the_text(spot: Spot, place: tuple[int, int]) -> None:
    assert [place] == source.read(TEXT).positions([spot])


def test_places_are_given_in_the_order_they_are_asked_for() -> None:
    assert source.read(TEXT).positions([Spot(("d",)), Spot(()), Spot(("a~/b",))]) == [(3, 8), (1, 1), (2, 11)]


@pytest.mark.parametrize("ending", [r"\r\n", r"\r", r"\n", r"\u000a", r"\u000D\u000A"])
def test_every_line_ending_an_expression_knows_is_one(ending: str) -> None:
    read = source.read(f'"one{ending}two"')
    assert [(1, 5 + len(ending) + 1)] == read.positions([Spot((), inside=(2, 2))])


def test_of_two_equal_keys_the_last_has_the_place() -> None:
    assert source.read('{"a": 1, "a": 2}').positions([Spot(("a",))]) == [(1, 15)]


@given(json_values)
def test_every_place_of_every_value_leads_to_its_text(value: object) -> None:
    paths: list[source.Path] = []

    def walk(here: object, path: source.Path) -> None:
        paths.append(path)
        inner = here.items() if isinstance(here, dict) else enumerate(here) if isinstance(here, list) else ()
        for key, each in inner:
            walk(each, (*path, key))

    walk(value, ())
    text = json.dumps(value, indent=2)
    lines = text.split("\n")
    for path, (line, column) in zip(paths, source.read(text).positions(map(Spot, paths)), strict=True):
        expected = value
        for key in path:
            expected = expected[key]  # type: ignore[index]
        rest = "\n".join([lines[line - 1][column - 1 :], *lines[line:]])
        assert expected == json.JSONDecoder().raw_decode(rest)[0]


def test_a_pointer_escapes_what_rfc_6901_escapes() -> None:
    assert source.pointer(("a/b", "~", 0, "")) == "/a~1b/~0/0/"
