"""The README's example of design spaces runs, and prints what its comments say."""

import pathlib
import re

README = pathlib.Path(__file__).parents[1] / "README.md"


def test_example(capsys):
    section = README.read_text().partition("## Design spaces")[2]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]
    exec(compile(code, str(README), "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    promised = re.findall(r"^print\(.*#\s*(.*)$", code, re.MULTILINE)
    assert printed[:3] == promised[:3] and len(promised) == 4
    assert printed[3].startswith("Band(low=") and printed[4].count("RegNetConfig(") == 5
