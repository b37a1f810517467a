# SPDX-License-Identifier: Apache-2.0
"""The man pages and the shell completion name what the programs take, and nothing else."""

import re
import subprocess

import pytest
from support.build import REPOSITORY

MAN = REPOSITORY / "packaging/man"
COMPLETION = REPOSITORY / "packaging/completion"
# Program -> its man page, and whether it has commands and a completion.
PROGRAMS = {"latchkey": ("latchkey.1", True), "latchkeyd": ("latchkeyd.8", True),
            "latchkey-agent": ("latchkey-agent.8", True), "latchkey-signer": ("latchkey-signer.8", False)}
# Configuration file's man page -> the source that reads it, and how a key looks there.
KEYS = {"latchkey-agent.toml.5": ("agent/config/agent_config.cc", r'key == "(\w+)"'),
        "latchkeyd.toml.5": ("broker/daemon/config.cc", r'\.(?:text|path|number|texts|addresses|flag)\("(\w+)"'),
        "pam_latchkey.8": ("pam/options.cc", r'(?:==|starts_with\() ?"(\w+)')}
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")


def help_of(build, program, *words):
    done = subprocess.run([build.program(program), *words, "--help"], capture_output=True, text=True, check=True,
                          stdin=subprocess.DEVNULL, timeout=20)
    return done.stdout


def commands_in(text):
    """CLI11 lists them, two blanks in, below "Subcommands:"."""
    _, _, below = text.partition("Subcommands:\n")
    return re.findall(r"^  ([a-z][a-z-]*)\s", below, re.MULTILINE)


def options_in(text):
    """The options that CLI11 lists: a description may name those of another program."""
    return {option for line in re.findall(r"^  (-\S+)", text, re.MULTILINE) for option in line.split(",")
            if option.startswith("--")}


def everything(build, program, *words):
    """All options and commands of a program, of its commands' commands too."""
    text = help_of(build, program, *words)
    options, commands = options_in(text), commands_in(text)
    for command in list(commands):
        more_options, more_commands = everything(build, program, *words, command)
        options |= more_options
        commands += more_commands
    return options, commands


def page(name):
    return (MAN / name).read_text(encoding="utf-8").replace("\\-", "-")


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_page_of_a_program_has_its_options_and_commands(build, program):
    name, _ = PROGRAMS[program]
    options, commands = everything(build, program)
    text = page(name)
    entries = re.findall(r"^\.TP\n\.(?:B|BI|BR) (.*)$", text, re.MULTILINE)
    assert {option for entry in entries for option in OPTION.findall(entry)} == options
    described = re.findall(r"^\.TP\n\.B (\w[\w-]*)$", text, re.MULTILINE)
    assert sorted(described) == sorted(set(commands))


@pytest.mark.parametrize("program", [name for name, (_, completed) in PROGRAMS.items() if completed])
def test_the_completion_of_a_program_has_its_options_and_commands(build, program):
    options, commands = everything(build, program)
    text = (COMPLETION / program).read_text(encoding="utf-8")
    assert set(OPTION.findall(text)) == options
    words = set(re.findall(r"[\w-]+", text))
    assert not [command for command in commands if command not in words]


@pytest.mark.parametrize("program", [name for name, (_, completed) in PROGRAMS.items() if completed])
def test_bash_reads_the_completion(program):
    done = subprocess.run(["bash", "-c", f"source {COMPLETION / program} && complete -p {program}"], capture_output=True,
                          text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", KEYS)
def test_the_page_of_a_configuration_has_its_keys(name):
    source, pattern = KEYS[name]
    keys = set(re.findall(pattern, (REPOSITORY / source).read_text(encoding="utf-8")))
    described = set(re.findall(r"^\.(?:TP\n\.(?:B|BI|BR) )(\w+)", page(name), re.MULTILINE))
    assert keys, source
    of_plugins = {"path", "url", "connect_timeout_seconds", "key", "max_lifetime_seconds", "signatures_per_second"}
    extra = of_plugins if name == "latchkeyd.toml.5" else set()
    assert described == keys | extra


@pytest.mark.parametrize("path", sorted(MAN.iterdir()), ids=lambda path: path.name)
def test_a_page_is_whole(path):
    """Its name and section stand in the file's name, the heading and NAME, as man and apropos want it."""
    text = path.read_text(encoding="utf-8").replace("\\-", "-")
    name, _, section = path.name.rpartition(".")
    assert text.startswith(f".TH {name.upper()} {section} ")
    assert re.search(rf"^\.SH NAME\n{re.escape(name)} - \S", text, re.MULTILINE)
