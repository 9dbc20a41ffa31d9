"""Page after page of a list: where the items are, and how the next page is asked for."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, Field, model_validator

from celeriac import Fail, Json, exchange

if TYPE_CHECKING:
    import httpx2

MOST_ITEMS = 10_000
_PATH = r"^[A-Za-z_0-9-]+(\.[A-Za-z_0-9-]+)*$"


class Pages(BaseModel, extra="forbid"):
    """How a service hands out a long list."""

    by: Literal["link", "cursor", "number"] = Field(
        description="How the next page is asked for: link takes the header Link, cursor a value in the body, number counts."
    )
    items: str | None = Field(
        None,
        description="Where the list is in the body, like data.orders; left out, the body is it.",
        pattern=_PATH,
    )
    cursor: str | None = Field(
        None,
        description="Where the body has the next page's cursor or address, like meta.next. None, null and an empty text end.",
        pattern=_PATH,
    )
    parameter: str | None = Field(
        None,
        description="The parameter for the cursor or number; without one a cursor is an address.",
        min_length=1,
    )
    first: int = Field(1, description="The first number.", ge=0)
    most: int = Field(1_000, description="How many items at most.", ge=1, le=MOST_ITEMS)

    @model_validator(mode="after")
    def _whole(self) -> Pages:
        if self.by == "cursor" and self.cursor is None:
            message = "pages by cursor need `cursor`: where the body has it"
            raise ValueError(message)
        if self.by == "number" and self.parameter is None:
            message = "pages by number need `parameter`: which one counts"
            raise ValueError(message)
        return self


Send = Callable[["httpx2.Request"], Awaitable["httpx2.Response"]]


async def collected(
    pages: Pages, client: httpx2.AsyncClient, request: httpx2.Request, send: Send
) -> tuple[httpx2.Response, list[Json], bool]:
    """Return the last answer, the items of all pages, and whether there are more. Raises `Fail` for what is no list."""
    items: list[Json] = []
    number = pages.first
    if pages.by == "number":
        request = _with(client, request, {str(pages.parameter): str(number)})
    while True:
        response = await send(request)
        body = exchange.body_of(response)
        page = at(body, pages.items)
        if not isinstance(page, list):
            where = f"at {pages.items} of its body" if pages.items else "as its body"
            raise Fail(
                "http.invalid_body", f"{exchange.shown_as(request)} was answered without a list {where}."
            )
        items += page
        number += 1
        following = _following(pages, client, request, response, body, number, empty=not page)
        if following is None or len(items) >= pages.most:
            return response, items[: pages.most], following is not None or len(items) > pages.most
        request = following


def at(body: Json, path: str | None) -> Json:
    """Return what stands at a path of names and numbers; None when nothing does."""
    for part in path.split(".") if path else ():
        if isinstance(body, dict):
            body = body.get(part)
        elif isinstance(body, list) and re.fullmatch("[0-9]+", part) and int(part) < len(body):
            body = body[int(part)]
        else:
            return None
    return body


def _following(
    pages: Pages,
    client: httpx2.AsyncClient,
    request: httpx2.Request,
    response: httpx2.Response,
    body: Json,
    number: int,
    *,
    empty: bool,
) -> httpx2.Request | None:
    if pages.by == "number":
        return None if empty else _with(client, request, {str(pages.parameter): str(number)})
    if pages.by == "link":
        found: Json = response.links.get("next", {}).get("url")
    else:
        found = at(body, pages.cursor)
    if found is None or found == "" or isinstance(found, (dict, list, bool)):
        return None
    if pages.by == "cursor" and pages.parameter is not None:
        return _with(client, request, {pages.parameter: str(found)})
    return _at_address(client, request, str(found))


def _with(client: httpx2.AsyncClient, request: httpx2.Request, parameters: dict[str, str]) -> httpx2.Request:
    return _again(client, request, request.url.copy_merge_params(parameters))


def _at_address(client: httpx2.AsyncClient, request: httpx2.Request, address: str) -> httpx2.Request:
    """Return the request for a page that the service names. It stays with the service: headers may be meant for it alone."""
    import httpx2

    try:
        url = request.url.join(address)
    except httpx2.InvalidURL as error:
        raise Fail("http.invalid_body", f"The next page's address is none: {error}") from error
    if url.origin != request.url.origin:
        raise Fail(
            "http.invalid_body", f"The next page is to be at {url.host}, and not at {request.url.host}."
        )
    return _again(client, request, url)


def _again(client: httpx2.AsyncClient, request: httpx2.Request, url: httpx2.URL) -> httpx2.Request:
    headers = [(name, value) for name, value in request.headers.multi_items() if name.lower() != "host"]
    return client.build_request(
        request.method, url, headers=headers, timeout=request.extensions["timeout"]["read"]
    )
