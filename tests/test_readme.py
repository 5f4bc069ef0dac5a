"""The README and docs/ are true: snippets run, options exist, files are there, the Space's header is right."""

from __future__ import annotations

import io
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from functools import lru_cache

import pytest
import yaml
from serving import ROOT, MiniatureCatalog, running_app

README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")
PAGES = {"README.md": TEXT.split("---\n", 2)[2]} | {
    f"docs/{path.name}": path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))
}
EXECUTED = ("README.md", "docs/api.md")
"""Pages whose Python snippets need no other data than the repository's."""
MAX_README_LINES = 130
"""Two screens."""
DOCUMENTED_URL = "http://127.0.0.1:7860"
SPACE_COLORS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
MAX_SHORT_DESCRIPTION = 60
"""The Hub refuses a longer one."""
SEPARATORS = {"&&", "||", ";", "|"}
PROGRAMS = re.compile(r"-m hmm2song(?: [a-z]+)?|app\.py|scripts/[\w/]+\.py(?: similar)?")


def fenced(page: str, language: str) -> list[str]:
    """Return the code blocks of a language on a page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGES[page], re.MULTILINE | re.DOTALL)


def own_commands(page: str) -> set[str]:
    """Return the ``python ...`` commands in shell blocks and in the text that run something of this repository."""
    lines = [line for block in fenced(page, "bash") for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`(python [^`]+)`", re.sub(r"^```.*?^```$", "", PAGES[page], flags=re.MULTILINE | re.DOTALL))
    found: list[list[str]] = []
    for line in lines:
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        found.append([])
        for word in lexer:
            if word in SEPARATORS:
                found.append([])
            elif found[-1] or "=" not in word:  # VARIABLE=value may come before the program
                found[-1].append(word)
    texts = [shlex.join(words[1:]) for words in found if words[:1] == ["python"]]
    return {text for text in texts if PROGRAMS.match(text)}


@lru_cache
def options_of(program: str) -> frozenset[str]:
    """The options in a program's help, asked in this process: what they import takes seconds."""
    told = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(told), pytest.raises(SystemExit) as done:
        patch.setattr(sys, "path", [*sys.path])
        module, _, command = program.removeprefix("-m ").partition(" ")
        patch.setattr(sys, "argv", [module, *command.split(), "--help"])
        if program.startswith("-m "):
            runpy.run_module(module, run_name="__main__")
        else:
            runpy.run_path(str(ROOT / module), run_name="__main__")
    assert done.value.code == 0
    told.seek(0)
    return frozenset(re.findall(r"(?<![\w-])--?[a-z][\w-]*", told.read()))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The running app with the bundled catalog, as the README starts it."""
    bundled = MiniatureCatalog(ROOT / "assets" / "catalog", (), README)
    with running_app(bundled, tmp_path_factory.mktemp("app")) as address:
        yield address


@pytest.mark.parametrize(
    ("page", "number"), [(page, n) for page in EXECUTED for n in range(len(fenced(page, "python")))]
)
def test_the_python_snippet_runs(page: str, number: int, request: pytest.FixtureRequest) -> None:
    snippet = fenced(page, "python")[number]
    if "gradio_client" in snippet:
        assert DOCUMENTED_URL in snippet
        snippet = snippet.replace(DOCUMENTED_URL, request.getfixturevalue("url"))
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8", "no_proxy": "127.0.0.1"}
    for variable in ("HMM2SONG_CATALOG", "HMM2SONG_MODEL", "HMM2SONG_INDEX"):
        environment.pop(variable, None)
    done = subprocess.run(
        [sys.executable, "-c", snippet], cwd=ROOT, capture_output=True, encoding="utf-8", timeout=120, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()  # it shows something


def test_the_readme_is_short_and_shows_how_to_use_it() -> None:
    assert len(PAGES["README.md"].splitlines()) <= MAX_README_LINES
    assert len(fenced("README.md", "python")) == 2
    programs = {PROGRAMS.match(command)[0] for command in own_commands("README.md")}
    assert {"-m hmm2song recognize", "-m hmm2song index", "app.py"} <= programs


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_name_programs_and_options_that_exist(page: str) -> None:
    for command in own_commands(page):
        program = PROGRAMS.match(command)[0]
        words = shlex.split(command)[len(program.split()) :]
        named = {word.partition("=")[0] for word in words if re.match("--?[a-z]", word)}
        assert named <= options_of(program) | {"--help", "-h"}, command


@pytest.mark.parametrize("page", PAGES)
def test_the_files_it_names_exist(page: str) -> None:
    text = re.sub(r"https?://\S+", "", PAGES[page])
    linked = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)[^)]*\)", text)]
    named = [(ROOT / page).parent / target for target in linked if target and ":" not in target]
    named += [
        ROOT / path for path in re.findall(r"(?<![\w/.-])(?:scripts|assets|hmm2song|tests|docs)/[\w/.-]+\w", text)
    ]
    assert named
    assert not [str(path) for path in named if not path.exists()]


def test_the_header_is_one_the_space_accepts() -> None:
    assert TEXT.startswith("---\n")
    header = yaml.safe_load(TEXT.split("---\n", 2)[1])
    (pinned,) = re.findall(r"^gradio==(\S+)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert header["sdk"] == "gradio" and header["sdk_version"] == pinned
    assert isinstance(header["python_version"], str)  # 3.10 unquoted would be 3.1
    assert (ROOT / header["app_file"]).is_file()
    assert {header["colorFrom"], header["colorTo"]} <= SPACE_COLORS
    assert header["title"] and header["license"] and header["emoji"]
    assert len(header["short_description"]) <= MAX_SHORT_DESCRIPTION


def test_the_licence_is_the_one_of_the_header() -> None:
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "license: apache-2.0" in TEXT and "Apache License" in licence
