"""One question to a server that speaks the chat protocol of OpenAI: bounded in time and size."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import threading
import urllib.parse
from typing import Any, Mapping

__all__ = ["ChatEndpoint"]

_MOST_BYTES = 1_000_000  # of an answer
_MOST_SHOWN = 200  # characters of an answer, in errors
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LOCAL = ("localhost", "127.0.0.1", "::1")


class ChatEndpoint:
    """A server's address, and the name of the environment variable that has its key.

    No redirect is followed and no proxy is used: the key goes to the host that was named, and
    nowhere else.

    Args:
        base_url: "http://localhost:8000/v1"; "/chat/completions" is appended.
        api_key_env: name of an environment variable with the key, read at each question; None
            sends none. Never the key itself: what is in a configuration gets written to files.
        timeout_s: of one question, from its first byte to the last of its answer.

    Raises:
        ValueError: if one of them is not what it should be.
    """

    def __init__(
        self, base_url: str, api_key_env: str | None = None, timeout_s: float = 30.0
    ) -> None:
        parts = urllib.parse.urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                f"base_url {base_url!r} must begin with http:// or https:// and name a host"
            )
        if parts.username or parts.password:
            raise ValueError("base_url must not hold a user or a password")
        if api_key_env is not None and not _VARIABLE.fullmatch(api_key_env):
            # Not shown: it may be the key.
            raise ValueError(
                "api_key_env must be the name of an environment variable, never the key itself"
            )
        if api_key_env and parts.scheme == "http" and parts.hostname not in _LOCAL:
            raise ValueError(
                f"the key of api_key_env would be sent to {parts.hostname} unencrypted: use https"
            )
        if not 0 < timeout_s < float("inf"):
            raise ValueError(
                f"timeout_s must be finite and above 0 seconds, got {timeout_s!r}"
            )
        self._is_encrypted = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._path = f"{parts.path.rstrip('/')}/chat/completions"
        self._api_key_env = api_key_env
        self._timeout_s = timeout_s

    def ask(self, body: Mapping[str, Any]) -> str:
        """Return the text of the answer to `body`.

        Raises:
            TimeoutError: if it is not there in time.
            OSError: if the server is not reached, or breaks off.
            RuntimeError: if it answers with anything but 200.
            ValueError: if the answer is too long or has no text in it.
        """
        key = self._key()
        make = (
            http.client.HTTPSConnection
            if self._is_encrypted
            else http.client.HTTPConnection
        )
        connection = make(self._host, self._port, timeout=self._timeout_s)
        late = threading.Event()
        # Kept here: the connection forgets its socket once the answer begins.
        connected: list[socket.socket] = []

        def give_up() -> None:
            # A server may send a byte now and then for ever: no limit of a single read ends that.
            late.set()
            for sock in connected:
                _shut(sock)

        timer = threading.Timer(self._timeout_s, give_up)
        timer.daemon = True
        timer.start()
        try:
            connection.connect()
            connected.append(connection.sock)
            status, answer = self._exchange(connection, body, key)
        except (OSError, http.client.HTTPException) as error:
            if late.is_set() or isinstance(error, TimeoutError):
                raise self._too_late() from error
            if isinstance(error, OSError):
                raise
            raise OSError(f"the server broke off: {type(error).__name__}") from error
        finally:
            timer.cancel()
            connection.close()
        if late.is_set():
            raise self._too_late()
        shown = answer[:_MOST_SHOWN].decode("utf-8", "replace")
        shown = shown.replace(key, "***") if key else shown
        if status != 200:
            raise RuntimeError(f"the server answered {status}: {shown!r}")
        if len(answer) > _MOST_BYTES:
            raise ValueError(f"the answer has more than {_MOST_BYTES} bytes")
        return _read_answer(answer, shown)

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        body: Mapping[str, Any],
        key: str,
    ) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        connection.request("POST", self._path, json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, response.read(_MOST_BYTES + 1)

    def _key(self) -> str:
        if self._api_key_env is None:
            return ""
        key = os.environ.get(self._api_key_env, "").strip()
        if not key:
            raise ValueError(f"the environment variable {self._api_key_env} is not set")
        return key

    def _too_late(self) -> TimeoutError:
        return TimeoutError(f"the server did not answer within {self._timeout_s:g} s")


def _shut(connected: socket.socket) -> None:
    try:
        connected.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it is closed already


def _read_answer(answer: bytes, shown: str) -> str:
    """Return `choices[0].message.content`."""
    try:
        content = json.loads(answer)["choices"][0]["message"]["content"]
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise ValueError(
            f"the answer has no choices[0].message.content: {shown!r}"
        ) from error
    if not isinstance(content, str):
        raise ValueError(f"the answer's content is no text: {shown!r}")
    return content
