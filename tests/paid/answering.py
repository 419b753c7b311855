"""Whoever answers the files of batches: here by posting each line to a server, one by one."""

import json
from pathlib import Path

import httpx2


def answer(url: str, file: Path, output: Path) -> int:
    """Have the server at *url* answer every line of *file* into *output*, as a batch's output."""
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    with output.open("w", encoding="utf-8") as out:
        for line in lines:
            address = url + line["url"].removeprefix("/v1")
            answered = httpx2.post(address, json=line["body"], timeout=300, trust_env=False)
            status, body = answered.status_code, answered.json()
            response = {"status_code": status, "request_id": "r", "body": body}
            row = {"id": "b", "custom_id": line["custom_id"], "response": response, "error": None}
            out.write(json.dumps(row) + "\n")
    return len(lines)
