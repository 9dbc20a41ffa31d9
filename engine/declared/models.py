"""A pydantic model of a JSON Schema: so that a declared node type or connection kind is checked like any other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import jsonschema_rs
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, WithJsonSchema, create_model

from celeriac import Json
from engine.schema import compiled

_MISSING: Any = ...


def model_of(name: str, schema: Mapping[str, Any], *, secrets: bool = False) -> type[BaseModel]:
    """Return a model with a field for each property, which accepts what the property's schema accepts, and no other fields.

    With `secrets` the properties that are `writeOnly` become `SecretStr`. Raises `jsonschema_rs.ValidationError` for what
    is no schema.
    """
    fields: dict[str, Any] = {}
    required = set(schema.get("required", ()))
    for number, (key, each) in enumerate(schema.get("properties", {}).items()):
        default = _MISSING if key in required else each.get("default")
        options: dict[str, Any] = {"alias": key, "description": each.get("description")}
        if secrets and each.get("writeOnly"):
            kind: Any = SecretStr if key in required else SecretStr | None
            fields[f"f{number}"] = (kind, Field(default, min_length=1, **options))
        else:
            checked = Annotated[Any, AfterValidator(_fits(each)), WithJsonSchema(_without_default(each))]
            fields[f"f{number}"] = (checked, Field(default, **options))
    made: type[BaseModel] = create_model(name, __config__=ConfigDict(extra="forbid"), **fields)
    return made


def values_of(model: BaseModel) -> dict[str, Any]:
    """Return the fields of a model by the names that authors write. Secrets stay what they are."""
    return {each.alias or name: getattr(model, name) for name, each in type(model).model_fields.items()}


def _fits(schema: Mapping[str, Any]) -> Callable[[Any], Any]:
    validator = compiled(dict(schema))

    def check(value: Json) -> Json:
        try:
            validator.validate(value)
        except jsonschema_rs.ValidationError as error:
            place = "".join(f"[{each!r}]" for each in error.instance_path)
            raise ValueError(f"{place and place + ': '}{error.message}") from None
        return value

    return check


def _without_default(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {key: each for key, each in schema.items() if key not in ("default", "description")}
