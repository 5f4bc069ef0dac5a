"""The README does what it says: snippets run, options exist, files are there, the Space's header is right."""

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
BODY = TEXT.split("---\n", 2)[2]
DOCUMENTED_URL = "http://127.0.0.1:7860"
SPACE_COLORS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
MAX_SHORT_DESCRIPTION = 60
"""The Hub refuses a longer one."""
SEPARATORS = {"&&", "||", ";", "|"}
PROGRAMS = re.compile(r"-m hmm2song(?: [a-z]+)?|app\.py|scripts/[\w/]+\.py")


def fenced(language: str) -> list[str]:
    """What stands in the code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", BODY, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    """Every ``python ...`` command in shell blocks and in the text, split into words."""
    lines = [line for block in fenced("bash") for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`(python [^`]+)`", re.sub(r"^```.*?^```$", "", BODY, flags=re.MULTILINE | re.DOTALL))
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
    return [words[1:] for words in found if words[:1] == ["python"]]


def own_commands() -> list[str]:
    """Commands that run something of this repository."""
    return sorted({shlex.join(words) for words in commands() if PROGRAMS.match(" ".join(words))})


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


@pytest.mark.parametrize("snippet", fenced("python"), ids=lambda snippet: snippet.splitlines()[0])
def test_the_python_snippet_runs(snippet: str, request: pytest.FixtureRequest) -> None:
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


def test_there_are_snippets_and_commands() -> None:
    assert len(fenced("python")) >= 2
    programs = {PROGRAMS.match(command)[0] for command in own_commands()}
    assert {"-m hmm2song recognize", "-m hmm2song index", "app.py"} <= programs


@pytest.mark.parametrize("command", own_commands())
def test_the_command_names_options_and_files_that_exist(command: str) -> None:
    program = PROGRAMS.match(command)[0]
    words = shlex.split(command)
    named = {word.partition("=")[0] for word in words[len(program.split()) :] if word.startswith("-")}
    assert named <= options_of(program) | {"--help", "-h"}
    assert not [word for word in words if word.startswith("assets/") and not (ROOT / word).exists()]


def test_every_file_it_links_exists() -> None:
    linked = re.findall(r"\]\(([^)\s]+)[^)]*\)", BODY) + re.findall(r'<img[^>]+src="([^"]+)"', BODY)
    local = [target.partition("#")[0] for target in linked if not re.match(r"[a-z]+:|#", target)]
    local += re.findall(r"\bscripts/[\w/]+\.py\b|\bassets/[\w/.-]+\w", BODY)
    assert local
    assert not [target for target in local if not (ROOT / target).exists()]


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
