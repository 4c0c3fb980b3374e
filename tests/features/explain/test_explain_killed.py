"""A job that is killed outright while it waits for an endpoint goes on where it was."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path

from tests.features.explain.planted import completion, endpoint
from tests.features.explain.test_explain_run import by_endpoint

from pellucid.features.explanations import explain_run, read_explanations

ROOT = Path(__file__).parents[3]
JOB = """
import sys
from tests.features.explain.planted import make_tiny
from tests.features.explain.test_explain_run import by_endpoint
from pellucid.features.explanations import explain_run
host, data = make_tiny()
explain_run(sys.argv[1], by_endpoint(sys.argv[2], 60.0, scores=("detection",)), host=host, data=data)
"""


def answer(body):
    """What depends on the question alone, so that a job in one piece and one in two can be told apart by nothing."""
    question = body["messages"][0]["content"]
    return completion("Yes" if len(question) % 2 else "No") if "Yes or No" in question else completion(f"{len(question)} signs")


def test_a_killed_job_goes_on_and_asks_nothing_twice(tmp_path, indexed, tiny):
    run, whole = (shutil.copytree(indexed, tmp_path / name) for name in ("run", "whole"))
    with endpoint(lambda _, body, __: answer(body)) as (url, asked):
        explain_run(whole, by_endpoint(url, scores=("detection",)), host=tiny[0], data=tiny[1])
    explained = sum("Yes or No" not in body["messages"][0]["content"] for body, *_ in asked)
    assert explained > 2
    second = []
    reached, over = threading.Event(), threading.Event()

    def until_killed(number, body, _):
        if number == explained + 3:  # all explanations, then some of a latent's judgements
            reached.set()
            over.wait(30)
        return answer(body)

    with endpoint(until_killed) as (url, _):
        job = subprocess.Popen([sys.executable, "-c", JOB, str(run), url], cwd=ROOT, stderr=subprocess.DEVNULL)
        try:
            assert reached.wait(300), "the job never got to its judgements"
        finally:
            job.kill()
            job.wait()
            over.set()
    assert len((run / "explanations" / "d" / "work" / "openai.jsonl").read_text().splitlines()) == 6, (
        "the settings and five latents"
    )
    with endpoint(lambda _, body, __: second.append(body) or answer(body)) as (url, _):
        explain_run(run, by_endpoint(url, scores=("detection",)), host=tiny[0], data=tiny[1])
    assert read_explanations(run, "d", "openai").equals(read_explanations(whole, "d", "openai"))
    assert second == [body for body, *_ in asked[explained:]], "explanations that were there were asked for again"
