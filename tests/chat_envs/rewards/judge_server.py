"""A judge on this machine that speaks the chat protocol, well or badly."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Callable, ClassVar, Self

__all__ = ["JudgeServer"]

_MOST_DRIPS = 400
_CHUNK = b"x" * 65536


class JudgeServer:
    """Answers questions in a thread of its own until the block ends.

    Args:
        judge: what it says to the body of a question.
        behaviour: "well"; "status" and "key" answer with `status`; "garbage", "wrong_shape",
            "no_text", "huge", "slowly" (a byte at a time), "never", "hang_up" or "redirect".
        status: of the answer.

    Attributes:
        questions: the bodies of all questions.
        paths: where they were sent.
        keys: their Authorization headers, None where there was none.
        most_at_once: how many were under way together.
        was_cut: set once a client has left before the end of its answer.
    """

    def __init__(
        self,
        judge: Callable[[dict[str, Any]], str] = lambda body: "7",
        behaviour: str = "well",
        status: int = 200,
    ) -> None:
        self.judge, self.behaviour, self.status = judge, behaviour, status
        self.questions: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.keys: list[str | None] = []
        self.most_at_once = 0
        self._num_running = 0
        self.lock = threading.Lock()
        self.has_ended = threading.Event()
        self.was_cut = threading.Event()
        handler = type("Handler", (_Handler,), {"judge_server": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.has_ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def count(self, change: int) -> None:
        """Note that a question begins (1) or ends (-1)."""
        with self.lock:
            self._num_running += change
            self.most_at_once = max(self.most_at_once, self._num_running)


def _completion(content: Any) -> bytes:
    return json.dumps({"choices": [{"message": {"content": content}}]}).encode()


class _Handler(BaseHTTPRequestHandler):
    """Answers as the `JudgeServer` says that it is bound to."""

    judge_server: ClassVar[JudgeServer]

    def do_POST(self) -> None:
        server = self.judge_server
        server.count(1)
        try:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with server.lock:
                server.questions.append(body)
                server.paths.append(self.path)
                server.keys.append(self.headers["Authorization"])
            getattr(self, server.behaviour)(body)
        except (BrokenPipeError, ConnectionResetError):
            server.was_cut.set()
        finally:
            server.count(-1)

    def reply(self, data: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def well(self, body: dict[str, Any]) -> None:
        self.reply(_completion(self.judge_server.judge(body)))

    def status(self, body: dict[str, Any]) -> None:
        self.reply(b"the machine is on fire", self.judge_server.status)

    def key(self, body: dict[str, Any]) -> None:
        header = self.headers["Authorization"] or ""
        self.reply(f"no such key: {header}".encode(), self.judge_server.status)

    def garbage(self, body: dict[str, Any]) -> None:
        self.reply(b"\x00\xff<html>")

    def wrong_shape(self, body: dict[str, Any]) -> None:
        self.reply(b'{"choices": []}')

    def no_text(self, body: dict[str, Any]) -> None:
        self.reply(_completion(None))

    def huge(self, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.end_headers()
        while not self.judge_server.has_ended.is_set():
            self.wfile.write(_CHUNK)

    def slowly(self, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.end_headers()
        for _ in range(_MOST_DRIPS):
            self.wfile.write(b" ")
            if self.judge_server.has_ended.wait(0.02):
                return

    def never(self, body: dict[str, Any]) -> None:
        self.judge_server.has_ended.wait()

    def hang_up(self, body: dict[str, Any]) -> None:
        self.close_connection = True

    def redirect(self, body: dict[str, Any]) -> None:
        self.send_response(307)
        self.send_header("Location", f"{self.judge_server.url}/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
