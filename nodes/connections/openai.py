"""OpenAI, or a server that speaks its API: vLLM, Ollama, llama.cpp, LM Studio."""

from __future__ import annotations

from typing import Self
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, SecretStr, model_validator

from celeriac import Carried, Link, connection
from nodes.connections import probe

HOME = "https://api.openai.com/v1"


class Models(BaseModel, extra="forbid"):
    """A key, or the address of a server of one's own that needs none."""

    api_key: SecretStr | None = Field(None, description="The key.", min_length=1)
    base_url: str | None = Field(
        None,
        description="The address of another server with the same API, like http://localhost:11434/v1.",
        pattern=r"^https?://[^/?#@\\]+(/[^?#\\]*)?$",
    )

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Self:
        if self.api_key is None and self.base_url is None:
            message = "it needs an api_key, or the base_url of a server that takes none"
            raise ValueError(message)
        return self

    def base(self, home: str) -> str:
        """Return where the API is: where it is said to be, or at its maker's."""
        return (self.base_url or home).rstrip("/")

    def carried(self) -> Carried:
        """Return the header."""
        key = self.api_key
        return Carried({} if key is None else {"Authorization": f"Bearer {key.get_secret_value()}"})


def hosts(fields: Models) -> list[str]:
    """Return the host of the API."""
    return [urlsplit(fields.base(HOME)).netloc]


@connection("openai", hosts=hosts, carry=Models.carried)
async def openai(fields: Models, link: Link) -> str:
    """Models of OpenAI, or of a server that speaks its API."""
    return await probe.ask(f"{fields.base(HOME)}/models", link)
