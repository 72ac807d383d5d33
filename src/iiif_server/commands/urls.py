"""URLs of servers, as command lines have them."""

import click
import httpx


def check_url(text: str) -> None:
    """A usage error for what is not the URL of a web server."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise click.UsageError(f"{text} is not a URL: {error}") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise click.UsageError(f"{text} must begin with http:// or https:// and a host")
