"""Each conversion there and back, and what is none."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from celeriac import Json, NodeType
from celeriac.testing import OpenLink, run_node
from nodes.connections.signing_key import SigningKey
from nodes.conversions.csv_parse import csv_parse
from nodes.conversions.csv_write import csv_write
from nodes.conversions.date_time import date_time
from nodes.conversions.digest import digest
from nodes.conversions.json_parse import json_parse
from nodes.conversions.markdown_html import markdown_html
from nodes.conversions.pdf_text import pdf_text
from nodes.conversions.signature import signature
from nodes.conversions.xml_parse import DEEPEST, xml_parse
from nodes.conversions.xml_write import xml_write
from tests.pdf import pdf_of


async def run(node_type: NodeType, **config: Any) -> Any:
    outcome = await run_node(node_type, config)
    assert outcome.error is None, outcome.error
    return outcome.value


async def refused(node_type: NodeType, **config: Any) -> tuple[str | None, str]:
    outcome = await run_node(node_type, config)
    assert outcome.kind == "failed", outcome
    assert outcome.error is not None
    return outcome.code, outcome.error.message


# CSV


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"text": 'a,b\n1,"x, ""y"""\n'}, {"rows": [{"a": "1", "b": 'x, "y"'}], "columns": ["a", "b"]}),
        (
            {"text": '\ufeffa;b\r\n1;"two\nlines"\r\n\r\n', "delimiter": ";"},
            {"rows": [{"a": "1", "b": "two\nlines"}], "columns": ["a", "b"]},
        ),
        ({"text": "1,2\n3,4", "header": False}, {"rows": [["1", "2"], ["3", "4"]], "columns": []}),
        (
            {"text": "1,2", "header": False, "columns": ["x", "y"]},
            {"rows": [{"x": "1", "y": "2"}], "columns": ["x", "y"]},
        ),
        ({"text": ""}, {"rows": [], "columns": []}),
    ],
)
async def test_csv_is_read(config: dict[str, Any], expected: Json) -> None:
    assert await run(csv_parse, **config) == expected


@pytest.mark.parametrize(
    ("text", "word"),
    [("a,b\n1", "Row 2 has 1 fields"), ("a,a\n1,2", "one name"), ('a\n"x', "no CSV"), ('a\n"x"y', "no CSV")],
)
async def test_what_is_no_csv_is_told(text: str, word: str) -> None:
    code, message = await refused(csv_parse, text=text)
    assert (code, word in message) == ("conversion.invalid", True)


async def test_csv_is_written() -> None:
    rows = [{"a": 1, "b": 'x "y"'}, {"b": None, "c": [1, {"d": 2}]}]
    text = await run(csv_write, rows=rows)
    assert text == 'a,b,c\r\n1,"x ""y""",\r\n,,"[1, {""d"": 2}]"\r\n'
    assert await run(csv_write, rows=rows, columns=["b"], header=False) == '"x ""y"""\r\n""\r\n'
    assert await run(csv_write, rows=[[1, True], ["x", None]], delimiter=";") == "1;true\r\nx;\r\n"
    assert (await refused(csv_write, rows=5))[0] == "conversion.invalid"
    assert (await refused(csv_write, rows=[5]))[0] == "conversion.invalid"


async def test_a_cell_of_a_stranger_is_no_formula() -> None:
    rows = [["=1+1", "@x", "-2", -2, "+x", "a=b"]]
    assert await run(csv_write, rows=rows) == "'=1+1,'@x,'-2,-2,'+x,a=b\r\n"
    assert await run(csv_write, rows=rows, guard=False) == "=1+1,@x,-2,-2,+x,a=b\r\n"


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.lists(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0")),
            min_size=2,
            max_size=2,
        )
    )
)
async def test_what_is_written_as_csv_is_read_again(rows: list[list[str]]) -> None:
    text = await run(csv_write, rows=[["x", "y"], *rows], guard=False)
    read = await run(csv_parse, text=text)
    assert read["rows"] == [{"x": one, "y": two} for one, two in rows]


# JSON


async def test_json_is_read() -> None:
    assert await run(json_parse, text='{"a": [1, null]}') == {"a": [1, None]}
    assert await run(json_parse, text='{"a": 1}\n\n2\n', lines=True) == [{"a": 1}, 2]
    assert (await refused(json_parse, text="{"))[0] == "conversion.invalid"
    assert (await refused(json_parse, text="NaN"))[0] == "conversion.invalid"
    assert "Line 2" in (await refused(json_parse, text="1\n{", lines=True))[1]
    assert (await refused(json_parse, text="[" * 100_000))[0] == "conversion.invalid"


# XML


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<a/>", {"a": None}),
        ("<a> x </a>", {"a": "x"}),
        ('<a b="1">t<c>2</c><c>3</c><d/></a>', {"a": {"@b": "1", "c": ["2", "3"], "d": None, "#text": "t"}}),
        ("<a><![CDATA[<b>]]>&amp;</a>", {"a": "<b>&"}),
        ('<x:a xmlns:x="u" x:b="1"><x:c>2</x:c></x:a>', {"a": {"@b": "1", "c": "2"}}),
    ],
)
async def test_xml_is_read(text: str, expected: Json) -> None:
    assert await run(xml_parse, text=text) == expected


async def test_a_list_is_one_even_with_one_element_where_that_is_said() -> None:
    assert await run(xml_parse, text="<a><b>1</b></a>", lists=["b"]) == {"a": {"b": ["1"]}}
    named = await run(xml_parse, text='<x:a xmlns:x="u"/>', namespaces=True)
    assert named == {"{u}a": None}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "no XML"),
        ("<a>", "no XML"),
        ('<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', "DOCTYPE"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "DOCTYPE"),
        ("<a>" * (DEEPEST + 1) + "</a>" * (DEEPEST + 1), "deep"),
        ("<a>&x;</a>", "no XML"),
    ],
)
async def test_what_is_no_xml_or_dangerous_is_refused(text: str, word: str) -> None:
    code, message = await refused(xml_parse, text=text)
    assert (code, word in message) == ("conversion.invalid", True)


async def test_xml_is_written_and_read_again() -> None:
    value = {"a": {"@b": '"<', "c": ["2", "3"], "d": None, "#text": "t & u"}}
    text = await run(xml_write, value=value)
    assert text == ('<?xml version="1.0" encoding="UTF-8"?><a b=\'"&lt;\'>t &amp; u<c>2</c><c>3</c><d/></a>')
    assert await run(xml_parse, text=text) == value
    assert await run(xml_parse, text=await run(xml_write, value=value, indent=True)) == value
    assert "<a>true</a>" in await run(xml_write, value={"a": True})


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"a": 1, "b": 2},
        {"a": [1, 2]},
        {"a b": 1},
        {"a": {"@x y": 1}},
        {"a": {"@x": []}},
        {"a": "\x01"},
        {"a><b": 1},
    ],
)
async def test_what_cannot_be_xml_is_refused(value: Json) -> None:
    assert (await refused(xml_write, value=value))[0] == "conversion.invalid"


# Markdown


async def test_markdown_becomes_html_that_is_safe() -> None:
    html = await run(markdown_html, text="# Hi\n\n| a |\n|---|\n| 1 |\n\n[x](https://a.example)")
    assert "<h1>Hi</h1>" in html
    assert "<td>1</td>" in html
    hostile = await run(
        markdown_html,
        text='<script>alert(1)</script>\n\n[x](javascript:alert(1)) ![y](https://spy.example/p.png) <img src=x onerror="y">',
    )
    assert "<script" not in hostile
    assert hostile.count("href") == 1  # an image is a link that nobody follows unasked
    assert 'href="https://spy.example/p.png"' in hostile
    assert "<img" not in hostile
    assert "<img" in await run(markdown_html, text="![y](https://a.example/p.png)", images=True)


# PDF


async def test_the_text_of_a_pdf_is_read_page_by_page() -> None:
    file = {"base64": base64.b64encode(pdf_of(["Invoice 7", "Total: 9.50"])).decode()}
    found = await run(pdf_text, file=file)
    assert (found["pages"], found["count"], found["title"]) == (["Invoice 7", "Total: 9.50"], 2, "Test")
    assert found["text"] == "Invoice 7\fTotal: 9.50"
    assert (await run(pdf_text, file={"content": file, "media_type": "application/pdf"}))["count"] == 2
    assert (await run(pdf_text, file=file, pages=1))["pages"] == ["Invoice 7"]
    assert (pdf_text.process, pdf_text.queue) == (True, "cpu")


async def test_a_locked_pdf_is_told_from_a_broken_one() -> None:
    from pypdf import PdfReader, PdfWriter

    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf_of(["secret"]))))
    writer.encrypt("open sesame", algorithm="RC4-128")
    locked = io.BytesIO()
    writer.write(locked)
    file = {"base64": base64.b64encode(locked.getvalue()).decode()}
    assert (await refused(pdf_text, file=file))[0] == "conversion.locked"
    assert (await run(pdf_text, file=file, password="open sesame"))["text"] == "secret"


@pytest.mark.parametrize("seed", range(20))
async def test_a_damaged_pdf_is_a_failure_and_no_crash(seed: int) -> None:
    draw = random.Random(seed)
    data = bytearray(pdf_of(["Invoice 7", "Total"]))
    for _ in range(30):
        data[draw.randrange(len(data))] = draw.randrange(256)
    outcome = await run_node(pdf_text, {"file": {"base64": base64.b64encode(bytes(data)).decode()}})
    assert outcome.kind == "output" or outcome.code in ("conversion.invalid", "conversion.locked")


@pytest.mark.parametrize(
    "file", [None, "text", {"base64": "??"}, {"base64": base64.b64encode(b"no pdf").decode()}]
)
async def test_what_is_no_pdf_is_told(file: Json) -> None:
    assert (await refused(pdf_text, file=file))[0] in ("file.invalid", "conversion.invalid")


# Digests


async def test_digests_are_those_of_everybody() -> None:
    assert await run(digest, value="abc") == hashlib.sha256(b"abc").hexdigest()
    assert await run(digest, value={"base64": "AAE="}, algorithm="md5") == hashlib.md5(b"\0\1").hexdigest()  # noqa: S324
    same = [await run(digest, value=each) for each in ({"b": 1, "a": "ü"}, {"a": "ü", "b": 1})]
    assert same[0] == same[1] == hashlib.sha256('{"a":"ü","b":1}'.encode()).hexdigest()
    raw = hashlib.sha512(b"abc").digest()
    assert (
        await run(digest, value="abc", algorithm="sha512", encoding="base64")
        == base64.b64encode(raw).decode()
    )
    assert "=" not in await run(digest, value="abc", encoding="base64url")


@pytest.mark.parametrize(
    ("key", "encoding", "data"),
    [
        ("s3cr3t-key", "text", b"s3cr3t-key"),
        ("AAECAwQFBgc=", "base64", bytes(range(8))),
        ("0001020304050607", "hex", bytes(range(8))),
    ],
)
async def test_a_signature_is_made_with_a_key_that_nobody_sees(key: str, encoding: Any, data: bytes) -> None:
    link = OpenLink("signing_key", SigningKey(key=SecretStr(key), encoding=encoding))
    config: dict[str, Json] = {"value": {"b": 1, "a": 2}, "connection": "k", "prefix": "sha256="}
    outcome = await run_node(signature, config, connections={"k": link})
    expected = hmac.digest(data, b'{"a":2,"b":1}', "sha256").hex()
    assert outcome.value == f"sha256={expected}"


@pytest.mark.parametrize(
    ("key", "encoding"), [("no base64!", "base64"), ("no hexes", "hex"), ("s3cr3t", "text")]
)
def test_a_key_that_is_none_is_not_repeated(key: str, encoding: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        SigningKey(key=SecretStr(key), encoding=encoding)
    assert key not in str(caught.value.errors(include_input=False, include_url=False, include_context=False))


# Dates


async def test_a_moment_is_told_in_every_form() -> None:
    found = await run(
        date_time, value="2031-05-02T22:30:00Z", timezone="Europe/Berlin", format="%d.%m.%Y %H:%M"
    )
    assert found == {
        "iso": "2031-05-03T00:30:00+02:00",
        "epoch": 1935527400,
        "epoch_ms": 1935527400000,
        "date": "2031-05-03",
        "time": "00:30:00",
        "year": 2031,
        "month": 5,
        "day": 3,
        "weekday": 6,
        "week": 18,
        "text": "03.05.2031 00:30",
    }


@pytest.mark.parametrize(
    ("config", "iso"),
    [
        ({}, "2030-01-01T00:00:00+00:00"),
        ({"value": 1893456000}, "2030-01-01T00:00:00+00:00"),
        ({"value": 1893456000000}, "2030-01-01T00:00:00+00:00"),
        ({"value": "2031-05-02"}, "2031-05-02T00:00:00+00:00"),
        ({"value": "2031-05-02T10:00", "timezone": "Asia/Tokyo"}, "2031-05-02T10:00:00+09:00"),
        ({"value": "2031-05-02T10:00Z", "add": "1d2h"}, "2031-05-03T12:00:00+00:00"),
        ({"value": "2031-05-02T10:00Z", "add": "-1d"}, "2031-05-01T10:00:00+00:00"),
        ({"value": "2031-05-02T10:20Z", "add": -60}, "2031-05-02T10:19:00+00:00"),
        ({"value": "2031-05-02T10:20:30Z", "start_of": "hour"}, "2031-05-02T10:00:00+00:00"),
        ({"value": "2031-05-02T10:20Z", "start_of": "day"}, "2031-05-02T00:00:00+00:00"),
        ({"value": "2031-05-02T10:20Z", "start_of": "week"}, "2031-04-28T00:00:00+00:00"),
        ({"value": "2031-05-02T10:20Z", "start_of": "month"}, "2031-05-01T00:00:00+00:00"),
        ({"value": "2031-05-02T10:20Z", "start_of": "year"}, "2031-01-01T00:00:00+00:00"),
        (
            {"value": "2031-10-26T03:30:00", "timezone": "Europe/Berlin", "start_of": "day"},
            "2031-10-26T00:00:00+02:00",
        ),
    ],
)
async def test_a_moment_is_moved(config: dict[str, Any], iso: str) -> None:
    assert (await run(date_time, **config))["iso"] == iso


@pytest.mark.parametrize(
    "config",
    [
        {"value": "tomorrow"},
        {"timezone": "Mars/Olympus"},
        {"timezone": "../etc/passwd"},
        {"value": 1e300},
        {"add": "soon"},
        {"value": "9999-12-31", "add": "2d"},
    ],
)
async def test_what_is_no_moment_is_told(config: dict[str, Any]) -> None:
    assert (await refused(date_time, **config))[0] == "conversion.invalid"


def test_what_is_left_out_is_what_the_node_before_came_to() -> None:
    for node_type in (
        csv_parse,
        csv_write,
        json_parse,
        xml_parse,
        xml_write,
        markdown_html,
        pdf_text,
        digest,
        signature,
    ):
        properties = node_type.config_schema()["properties"]
        assert [name for name, each in properties.items() if "x-celeriac-previous" in each] == [
            next(iter(properties))
        ], json.dumps(properties)
