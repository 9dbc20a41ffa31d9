"""A form as a page: server-rendered HTML without a script, and a policy that allows none.

Everything that comes from an author or a sender is text; there is one place where it is written, and it escapes.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Final

from starlette.responses import HTMLResponse

from celeriac import Json
from engine.triggers.forms import Field, Form, shown

PAGE: Final = "@form"
"""The hidden field that makes one page count once, however often it is sent."""
PAGE_ID: Final = re.compile(r"form_[a-z0-9]{26}")

_STYLE: Final = """
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
body { max-width: 36rem; margin: 2rem auto; padding: 0 1rem; }
label, legend { display: block; margin: 1.2rem 0 .3rem; font-weight: 600; }
fieldset { border: 0; margin: 0; padding: 0; }
fieldset label, .check { font-weight: 400; margin: .2rem 0; }
input:not([type=checkbox]), select, textarea { width: 100%; box-sizing: border-box; padding: .5rem; font: inherit; }
textarea { min-height: 8rem; }
small { display: block; opacity: .8; }
.wrong { color: #b00020; opacity: 1; }
button { margin-top: 1.5rem; padding: .6rem 1.4rem; font: inherit; }
""".strip()
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY: Final = f"default-src 'none'; style-src 'sha256-{_HASH}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"


def page(
    form: Form,
    page_id: str,
    *,
    given: Mapping[str, Json] | None = None,
    wrong: Mapping[str, str] | None = None,
    status: int = 200,
) -> HTMLResponse:
    """Return the form, with what was filled in already and what is wrong with it."""
    wrong = wrong or {}
    values = given if given is not None else {each.name: each.default for each in form.fields}
    above = f'<p class="wrong" role="alert">{escape(wrong[""])}</p>' if wrong.get("") else ""
    fields = "".join(
        _field(number, each, values.get(each.name), wrong.get(each.name))
        for number, each in enumerate(form.fields)
    )
    description = f"<p>{escape(form.description)}</p>" if form.description else ""
    body = (
        f"<h1>{escape(form.title)}</h1>{description}{above}"
        f'<form method="post"><input type="hidden" name="{PAGE}" value="{escape(page_id)}">{fields}'
        f'<button type="submit">{escape(form.submit)}</button></form>'
    )
    return _html(form.title, body, status)


def thanks(form: Form) -> HTMLResponse:
    """Return the page that says that it has arrived."""
    return _html(form.title, f"<h1>{escape(form.title)}</h1><p>{escape(form.thanks)}</p>", 200)


def sorry(message: str, status: int) -> HTMLResponse:
    """Return a page that says why there is no form."""
    return _html(message, f"<h1>{escape(message)}</h1>", status)


def _html(title: str, body: str, status: int) -> HTMLResponse:
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>{body}</main></body></html>"
    )
    headers = {"Content-Security-Policy": POLICY, "X-Frame-Options": "DENY"}
    return HTMLResponse(text, status, headers)


def _field(number: int, field: Field, value: Json, wrong: str | None) -> str:
    place = f"f{number}"
    notes = "".join(
        f'<small id="{place}-{name}"{mark}>{escape(text)}</small>'
        for name, text, mark in (("hint", field.hint, ""), ("wrong", wrong, ' class="wrong"'))
        if text
    )
    told = " ".join(f"{place}-{name}" for name, text in (("hint", field.hint), ("wrong", wrong)) if text)
    marks = _marks(
        ("name", field.name),
        ("aria-describedby", told or None),
        ("aria-invalid", "true" if wrong else None),
    )
    star = " *" if field.required and field.kind != "check" else ""
    label = f'<label for="{place}">{escape(field.label)}{star}</label>'
    if field.kind == "check":
        checked = " checked" if value else ""
        box = f'<input type="checkbox" id="{place}"{marks} value="on"{checked}>'
        return f'<label class="check" for="{place}">{box} {escape(field.label)}</label>{notes}'
    if field.kind == "choices":
        chosen = [shown(field, each) for each in value] if isinstance(value, list) else []
        boxes = "".join(
            f'<label><input type="checkbox"{_marks(("name", field.name), ("value", text))}'
            f"{' checked' if text in chosen else ''}> {escape(text)}</label>"
            for text in (shown(field, each) for each in field.choices)
        )
        return f"<fieldset><legend>{escape(field.label)}{star}</legend>{boxes}</fieldset>{notes}"
    needed = " required" if field.required else ""
    text = shown(field, value)
    if field.kind == "choice":
        options = "".join(
            f"<option{_marks(('value', each))}{' selected' if each == text else ''}>{escape(each)}</option>"
            for each in ("", *(shown(field, choice) for choice in field.choices))
        )
        return f'{label}<select id="{place}"{marks}{needed}>{options}</select>{notes}'
    if field.kind in ("text", "json"):
        longest = _marks(("maxlength", None if field.longest is None else str(field.longest)))
        return f'{label}<textarea id="{place}"{marks}{longest}{needed}>\n{escape(text)}</textarea>{notes}'
    more = _marks(
        ("type", field.input_type),
        ("step", None if field.kind != "number" else "1" if field.whole else "any"),
        ("maxlength", None if field.longest is None else str(field.longest)),
        ("value", text or None),
    )
    return f'{label}<input id="{place}"{marks}{more}{needed}>{notes}'


def _marks(*pairs: tuple[str, str | None]) -> str:
    """Return attributes, those that have a value."""
    return "".join(f' {name}="{escape(value)}"' for name, value in pairs if value is not None)


def messages(errors: Iterable[object], form: Form) -> dict[str, str]:
    """Return what is wrong with each field, from the misfits of a payload; what belongs to none stands above."""
    names = {each.name for each in form.fields}
    found: dict[str, str] = {}
    for each in errors:
        if isinstance(each, dict):
            pointer, text = str(each.get("pointer", "")), str(each.get("message", ""))
            name = pointer.removeprefix("/").partition("/")[0]
            found.setdefault(name if name in names else "", text)
    return found
