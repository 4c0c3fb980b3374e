"""Contexts of made-up latents whose firing follows a rule that is known, and a server that plays an endpoint."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import torch
from tests.conftest import tiny_llama
from tests.features.conftest import CONTEXT, VOCABULARY, make_tokenizer

from pellucid.data import TextConfig, TextCounts, TokenData
from pellucid.features.explain import Context, Contexts, Evidence
from pellucid.hosts import Host

WORDS = [" the", " cat", " dog", " sat", " on", " mat", " red", "ing", "(", ")", ".", " 7", "\n", " Paris", " import", " x"]


def contexts(part, fires, n, *, length=8, seed=0, words=WORDS):
    """(firing, silent) contexts, n of each; `fires` says for a list of texts on which tokens the latent fires."""
    generator = np.random.default_rng(seed)
    found = ([], [])
    row = 0
    while min(map(len, found)) < n:
        texts = [words[i] for i in generator.integers(len(words), size=length)]
        marks = np.array(fires(texts), bool)
        codes = np.where(marks, 1 + generator.random(length), 0).astype(np.float32)
        found[0 if marks.any() else 1].append(Context(part, row, 0, tuple(texts), codes))
        row += 1
    firing = sorted(found[0][:n], key=lambda context: -context.activation)
    return Contexts(firing, found[1][:n])


def evidence(fires, *, n=40, latent=0, **settings):
    return Evidence(latent, contexts("train", fires, n, seed=1, **settings), contexts("held_out", fires, n, seed=2, **settings))


def is_word(word):
    return lambda texts: [text == word for text in texts]


@contextmanager
def endpoint(answer):
    """A server on loopback.

    `answer(number, body, headers)` returns (status, bytes, headers), bytes that are no HTTP, or seconds to stay silent.
    """
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append((body, dict(self.headers), time.monotonic(), self.path))
            found = answer(len(seen), body, self.headers)
            if isinstance(found, float):
                time.sleep(found)
                found = (200, b"{}", {})
            if isinstance(found, bytes):
                self.wfile.write(found)
                self.close_connection = True
                return
            status, data, headers = found
            try:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)
            except OSError:
                pass  # the client has gone

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def completion(text, prompt_tokens=100, completion_tokens=5):
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
    return 200, json.dumps({"choices": [{"message": {"content": text}}], "usage": usage}).encode(), {}


def make_tiny():
    """(host, data): rows of random words, other ones to train on than held out."""
    rows = torch.randint(2, VOCABULARY - 2, (60, CONTEXT), generator=torch.Generator().manual_seed(3))
    counts = TextCounts(2, 1, 0, 0, 40 * CONTEXT, 20 * CONTEXT, 0, 0)
    tokenizer = make_tokenizer()
    data = TokenData(rows[:40], rows[40:], TextConfig(source="made here", context=CONTEXT, exclude_first=1), tokenizer, counts)
    return Host(tiny_llama(), name="llama", tokenizer=tokenizer), data
