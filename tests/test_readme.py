"""The README says what is: its loop is the loop, and its code runs."""

import inspect
import pathlib
import re
import subprocess
import sys
import textwrap

import pytest

from rl.loop import loop

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = [block for block in re.findall(r"```python\n(.*?)```", README, re.S) if not block.startswith("def loop(")]


def test_the_loop_in_the_readme_is_the_loop():
    shown = re.search(r"<!-- loop: begin -->\n```python\n(.*?)```\n<!-- loop: end -->", README, re.S)
    assert shown, "README.md must show rl.loop.loop between the marks"
    assert shown[1] == textwrap.dedent(inspect.getsource(loop))


@pytest.mark.parametrize("block", BLOCKS, ids=[f"block{i}" for i in range(len(BLOCKS))])
def test_the_code_in_the_readme_runs(block, tmp_path):
    done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_every_file_that_the_documents_name_exists():
    for document in ("README.md", "CONTRIBUTING.md"):
        prose = re.sub(r"```.*?```", "", (ROOT / document).read_text(), flags=re.S)
        for target in re.findall(r"\]\(([^)#:]+)\)", prose):
            assert (ROOT / target).exists(), f"{document} names {target}"
