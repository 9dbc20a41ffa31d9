"""The one tree of errors. Each class has a stable `code`; its docstring is the default message."""

from __future__ import annotations

from typing import ClassVar

from celeriac import Json


class CeleriacError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "internal.error"

    def __init__(self, message: str | None = None, *, hint: str | None = None, **details: Json) -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        super().__init__(self.message)
        self.hint = hint
        self.details = details

    def to_json(self) -> dict[str, Json]:
        """Return `{code, message, hint?, details?}`, the form every surface shows."""
        body: dict[str, Json] = {"code": self.code, "message": self.message}
        if self.hint:
            body["hint"] = self.hint
        if self.details:
            body["details"] = dict(self.details)
        return body


class NotFound(CeleriacError):
    """There is no such thing."""

    code = "request.not_found"


class Unauthenticated(CeleriacError):
    """The request does not prove who asks."""

    code = "request.unauthorized"


class RateLimited(CeleriacError):
    """There were too many requests in the last minute. `retry_after` are seconds."""

    code = "limit.rate"


class Forbidden(CeleriacError):
    """Whoever asks may not do this."""

    code = "request.forbidden"


class Conflict(CeleriacError):
    """The state of the thing does not allow this."""

    code = "request.conflict"


class PreconditionFailed(CeleriacError):
    """It is another one by now than the one you have seen; nothing was changed."""

    code = "request.precondition_failed"


class Invalid(CeleriacError):
    """The request cannot be understood."""

    code = "request.invalid"


class TooLarge(CeleriacError):
    """The value is larger than the limit."""

    code = "limit.too_large"


class SchemaTooNew(CeleriacError):
    """The database was written by a newer version of Celeriac."""

    code = "database.schema_too_new"


class SchemaMissing(CeleriacError):
    """The database has not been migrated to this version."""

    code = "database.schema_missing"


class Unavailable(CeleriacError):
    """A part the engine needs cannot be reached now; the same request may succeed later."""

    code = "service.unavailable"


class Misconfigured(CeleriacError):
    """A setting has a value that cannot be used."""

    code = "settings.invalid"
