from __future__ import annotations

import collections
import inspect
import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from pellucid.core.errors import DataError
from pellucid.data import Document, TextConfig, documents, load_text, python_docs


@pytest.fixture(scope="module")
def found():
    return list(documents(TextConfig()))


def test_it_is_large_enough_to_fit_a_dictionary_on(found):
    texts = {document.text for document in found}
    assert len(texts) > 1800
    assert sum(map(len, texts)) > 1_300_000


def test_it_holds_topics_builtins_and_library_docstrings(found):
    where = [document.where for document in found]
    assert where == sorted(where, key=lambda place: (not place.startswith("topic "), not place.startswith("builtin ")))
    assert "topic assert" in where and "builtin str.format" not in where and "builtin str.split" in where
    assert any(place.startswith("json/decoder.py:") and place.endswith(" JSONDecoder") for place in where)
    assert not any(place.split("/")[0] in ("test", "idlelib", "lib2to3", "site-packages") for place in where)
    assert all(len(document.text) > 150 for document in found if not document.where.startswith("topic "))


def test_documents_that_quote_each_other_are_one_family(found):
    line = {}
    for document in found:
        for text in document.text.split("\n"):
            if len(text.strip()) >= 40:
                assert line.setdefault(text.strip(), document.family) == document.family
    sizes = collections.Counter(document.family for document in found)
    assert len(sizes) > 1500 and max(sizes.values()) < 100


def test_nested_definitions_are_found_in_source_order(tmp_path):
    long = "words " * 50
    source = f'"""{long}module."""\ntry:\n    class A:\n        """{long}A."""\n'
    source += f'        async def f(self):\n            """{long}f."""\n'
    source += f'except ImportError:\n    def g():\n        """{long}g."""\n        def short():\n            """Short."""\n'
    (tmp_path / "m.py").write_text(source)
    ends = [document.text.split()[-1] for document in python_docs._docstrings(tmp_path / "m.py", "m.py")]
    assert ends == ["module.", "A.", "f.", "g."]


def sample() -> list[Document]:
    """The topics, the builtins and one file: to read all twice would take as long as the other tests together."""
    file = Path(sysconfig.get_path("stdlib"), "json", "decoder.py")
    return [*python_docs._topics(), *python_docs._builtins(), *python_docs._docstrings(file, "json/decoder.py")]


def test_the_text_does_not_depend_on_the_process(tmp_path):
    # Another hash seed, -OO, which strips the docstrings of what is imported, and an object a shell put among the builtins.
    (tmp_path / "script.py").write_text(
        "import builtins, json, sysconfig\nfrom pathlib import Path\nfrom pellucid.data import Document, python_docs\n"
        "builtins.shell = type('shell', (), {'__doc__': 'x ' * 300})\n"
        f"{inspect.getsource(sample)}\nprint(json.dumps(sample()))\n"
    )
    command = [sys.executable, "-OO", str(tmp_path / "script.py")]
    there = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert there == [list(document) for document in sample()]


def test_it_loads_by_default(tokenizer):
    with pytest.raises(DataError, match="special tokens only"):  # the words of the test's tokenizer are not English
        load_text(TextConfig(), tokenizer)
