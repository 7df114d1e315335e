"""A client of yaml-language-server, as VS Code is one."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from pathlib import Path
from queue import Queue
from typing import Any

_TIMEOUT = 120


class Server:
    """The server in a process of its own, in a folder.

    Args:
        command: that starts it.
        folder: where the files are that are opened.
    """

    def __init__(self, command: list[str], folder: Path) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [*command, "--stdio"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={**os.environ, "NODE_OPTIONS": "--max-old-space-size=512"},
        )
        self._answers: Queue[dict[str, Any]] = Queue()
        self._faults: Queue[dict[str, Any]] = Queue()
        self._number = 0
        self._version = 0
        threading.Thread(target=self._listen, daemon=True).start()
        # No other schema than the one that a file names: the store of schemas is on the network.
        self.settings: dict[str, Any] = {
            "yaml": {"schemaStore": {"enable": False}, "completion": True, "hover": True}
        }
        capabilities = {
            "textDocument": {"completion": {"completionItem": {"snippetSupport": True}}},
            "workspace": {"configuration": True},
        }
        self._ask("initialize", processId=os.getpid(), rootUri=None, capabilities=capabilities)
        self._tell("initialized")
        self._tell("workspace/didChangeConfiguration", settings=self.settings)

    def close(self) -> None:
        """Ends the server."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def open(self, text: str, folder: Path | None = None) -> str:
        """Opens a new file with this text; the URI by which it is known."""
        self._version += 1
        uri = ((folder or self._folder) / f"graph-{self._version}.yaml").as_uri()
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        self._tell("textDocument/didOpen", textDocument=document)
        return uri

    def completions(self, text: str) -> dict[str, dict[str, Any]]:
        """What is offered at the `|` of a text, by label."""
        answer = self._ask("textDocument/completion", **self._at(text))
        return {item["label"]: item for item in (answer or {"items": []})["items"]}

    def hover(self, text: str) -> str:
        """What is shown over the `|` of a text."""
        answer = self._ask("textDocument/hover", **self._at(text))
        return str(answer["contents"]["value"]) if answer else ""

    def faults(self, text: str, folder: Path | None = None) -> list[tuple[str, str]]:
        """What is underlined in a text, and why; as a file of `folder`."""
        uri = self.open(text, folder)
        lines = text.splitlines()
        while True:
            found = self._faults.get(timeout=_TIMEOUT)
            if found["uri"] == uri:
                break
        result = []
        for fault in found["diagnostics"]:
            begin, end = fault["range"]["start"], fault["range"]["end"]
            stop = end["character"] if end["line"] == begin["line"] else None
            result.append((lines[begin["line"]][begin["character"] : stop], fault["message"]))
        return result

    def _at(self, text: str) -> dict[str, Any]:
        before = text[: text.index("|")]
        uri = self.open(text.replace("|", "", 1))
        line = before.count("\n")
        character = len(before) - before.rfind("\n") - 1
        return {"textDocument": {"uri": uri}, "position": {"line": line, "character": character}}

    def _ask(self, method: str, **params: Any) -> Any:
        self._number += 1
        self._send({"id": self._number, "method": method, "params": params})
        while True:
            answer = self._answers.get(timeout=_TIMEOUT)
            if answer["id"] == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _tell(self, method: str, **params: Any) -> None:
        self._send({"method": method, "params": params})

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        self._process.stdin.flush()

    def _listen(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        while True:
            length = 0
            while line := stream.readline().strip():
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            if not length:
                return
            message = json.loads(stream.read(length))
            if "method" not in message:
                self._answers.put(message)
            elif "id" in message:
                self._answer(message)
            elif message["method"] == "textDocument/publishDiagnostics":
                self._faults.put(message["params"])

    def _answer(self, message: dict[str, Any]) -> None:
        """The server asks for its settings; everything else is acknowledged."""
        result: Any = None
        if message["method"] == "workspace/configuration":
            sections = [item.get("section", "") for item in message["params"]["items"]]
            result = [self.settings.get(section, {}) for section in sections]
        self._send({"id": message["id"], "result": result})
