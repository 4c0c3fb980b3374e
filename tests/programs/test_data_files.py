"""Sequences in files: three formats that say the same, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from pellucid.core.errors import ConfigError, DataError
from pellucid.programs.tasks import Examples, load_examples

XS = [[[0, 1], [2, 3], [4, 5]], [[1, 1], [0, 0], [7, -2]]]
YS = [[[1], [6], [15]], [[2], [2], [7]]]


def as_csv(path):
    lines = ["sequence,x1,x2,y"]
    for k, (xs, ys) in enumerate(zip(XS, YS, strict=True)):
        lines += [f"{k},{x[0]},{x[1]},{y[0]}" for x, y in zip(xs, ys, strict=True)]
    path.write_text("\n".join(lines) + "\n")


def as_jsonl(path):
    rows = [json.dumps({"x": xs, "y": [y[0] for y in ys]}) for xs, ys in zip(XS, YS, strict=True)]
    path.write_text("\n".join(rows) + "\n\n")


def as_npz(path):
    np.savez(path, x=np.array(XS), y=np.array(YS, dtype=np.float32))


@pytest.mark.parametrize(("ending", "write"), [("csv", as_csv), ("jsonl", as_jsonl), ("npz", as_npz)])
def test_every_format_gives_the_same_rows(tmp_path, ending, write):
    path = tmp_path / f"rows.{ending}"
    write(path)
    examples = load_examples(path)
    assert torch.equal(examples.xs, torch.tensor(XS)) and torch.equal(examples.ys, torch.tensor(YS))
    domain = examples.domain
    assert (domain.low, domain.high, domain.width, domain.length, examples.out_width) == (-2, 7, 2, 3, 1)


BAD_JSONL = {
    "nan": ('{"x": [0, NaN], "y": [0, 1]}', "line 1, x: step 2 is nan"),
    "infinite": ('{"x": [0, 1], "y": [0, Infinity]}', "line 1, y: step 2 is inf"),
    "fraction": ('{"x": [0, 0.5], "y": [0, 1]}', "step 2 is 0.5"),
    "huge": ('{"x": [0, 1e300], "y": [0, 1]}', "2\\^53"),
    "huge int": ('{"x": [0, 1' + "0" * 400 + '], "y": [0, 1]}', "2\\^53"),
    "text": ('{"x": [0, "a"], "y": [0, 1]}', "'a'"),
    "boolean": ('{"x": [0, true], "y": [0, 1]}', "True"),
    "empty": ('{"x": [], "y": []}', "line 1, x: the sequence is empty"),
    "no outputs": ('{"x": [1]}', "lacks the lists"),
    "uneven": ('{"x": [1, 2], "y": [1]}', "2 inputs but 1 outputs"),
    "ragged": ('{"x": [1, 2], "y": [1, 2]}\n{"x": [1], "y": [1]}', "line 2: 1 steps, but .* line 1 has 2"),
    "ragged steps": ('{"x": [[1, 2], [3]], "y": [1, 2]}', "step 2 has 1 numbers, step 1 has 2"),
    "widths": ('{"x": [[1, 2]], "y": [1]}\n{"x": [[1]], "y": [1]}', "line 2: .*numbers a step"),
    "no json": ("{", "line 1 is not valid JSON"),
    "deep": ("[" * 100000, "line 1 is not valid JSON"),
    "nothing": ("", "holds no sequences"),
}


@pytest.mark.parametrize("kind", BAD_JSONL)
def test_bad_lines_are_named(tmp_path, kind):
    text, said = BAD_JSONL[kind]
    path = tmp_path / "rows.jsonl"
    path.write_text(text + "\n")
    with pytest.raises(DataError, match=said) as caught:
        load_examples(path)
    assert "rows.jsonl" in str(caught.value)


BAD_CSV = {
    "columns": ("a,b\n1,2\n", "wanted 'sequence'"),
    "fields": ("sequence,x,y\n0,1\n", "line 2 has 2 fields"),
    "text": ("sequence,x,y\n0,1,2\n0,one,2\n", "line 3 holds 'one'"),
    "nan": ("sequence,x,y\n0,nan,2\n", "line 2, x: step 1 is nan"),
    "ragged": ("sequence,x,y\n0,1,2\n0,1,2\n1,1,2\n", "line 4: 1 steps, but .* line 2 has 2"),
    "nothing": ("sequence,x,y\n", "holds no sequences"),
}


@pytest.mark.parametrize("kind", BAD_CSV)
def test_bad_csv_is_named(tmp_path, kind):
    text, said = BAD_CSV[kind]
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        load_examples(path)


def test_bad_npz(tmp_path):
    path = tmp_path / "rows.npz"
    for arrays, said in (
        ({"x": np.zeros((2, 3))}, "lacks array 'y'"),
        ({"x": np.zeros((2, 3)), "y": np.full((2, 3), np.nan)}, "'y', sequence 1 step 1, is nan"),
        ({"x": np.zeros(3), "y": np.zeros(3)}, "1 axes"),
        ({"x": np.zeros((0, 3)), "y": np.zeros((0, 3))}, "no sequences"),
        ({"x": np.zeros((2, 3)), "y": np.zeros((2, 4))}, "differ in rows or steps"),
        ({"x": np.array([[None, 1]], dtype=object), "y": np.zeros((1, 2))}, "not a readable NPZ file of plain numbers"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(DataError, match=said):
            load_examples(path)
    path.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(DataError, match="not a readable NPZ"):
        load_examples(path)


def test_contradictions_name_both_rows_and_the_step():
    xs = torch.tensor([[0, 1, 2], [5, 5, 5], [0, 1, 3]]).unsqueeze(-1)
    ys = torch.tensor([[0, 1, 2], [5, 5, 5], [0, 7, 3]]).unsqueeze(-1)
    with pytest.raises(
        DataError, match=r"rows 1 and 3 contradict each other: both begin with \[0, 1\], but output 2 is 1 in one and 7"
    ):
        Examples("rows", xs, ys)
    ys[2] = torch.tensor([[0], [1], [9]])  # now they part where their inputs do
    assert len(Examples("rows", xs, ys)) == 3


def test_other_endings_and_missing_files(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        load_examples(tmp_path / "rows.csv")
    (tmp_path / "rows.txt").write_text("")
    with pytest.raises(ConfigError, match=r"ends in '\.txt'.*\.csv, \.jsonl, \.npz"):
        load_examples(tmp_path / "rows.txt")
