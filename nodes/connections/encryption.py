"""Encryption with servers: whom it trusts, and, with those of mail (RFC 8314), what comes of it when it fails."""

from __future__ import annotations

import ssl

from celeriac import Fail


def trusting(ca: str | None) -> ssl.SSLContext:
    """Return what trusts the certificates (PEM), else those of the system, and insists on the server's name.

    Raises `Fail` (`connection.certificate_invalid`) for text that is no certificate.
    """
    try:
        return ssl.create_default_context(cadata=ca)
    except (ssl.SSLError, ValueError) as error:
        raise Fail(
            "connection.certificate_invalid",
            "The `ca` of the connection holds no certificate in PEM. Store it anew.",
        ) from error


def insecure(host: str, error: ssl.SSLError) -> Fail:
    """Return what comes of encryption that failed. Nothing is ever sent without it instead."""
    why = getattr(error, "verify_message", "") or error.reason or "the server ended it"
    return Fail("email.insecure", f"The encryption with {host} failed: {str(why).rstrip('.')}.")


def not_offered(host: str) -> Fail:
    """Return what comes of a server that has no encryption to offer, or behind somebody who keeps it from offering any."""
    return Fail(
        "email.insecure",
        f"{host} offers no encryption (STARTTLS), or somebody between has taken the offer away. Nothing was sent to it. "
        "Use the port that begins with encryption, and the security tls.",
    )
