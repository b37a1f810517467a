# SPDX-License-Identifier: Apache-2.0
"""The checks refuse what they are there for: each is run on a small tree of its own, with its twin that passes."""

import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SPDX = "// SPDX-License-Identifier: Apache-2.0\n"


def run(check, tree, **files):
    """Writes the files (path -> text) into the tree; the check's exit status and output."""
    for path, text in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text, encoding="utf-8")
    done = subprocess.run([HERE / check, tree], capture_output=True, text=True, check=False)
    assert not done.stderr
    return done.returncode, done.stdout


@pytest.mark.parametrize("path, include", [
    ("core/base/a.h", '"core/wire/reader.h"'),
    ("core/protocol/a.cc", '"core/keys/public_key.h"'),
    ("core/posix/a.cc", '"core/cert/certificate.h"'),
    ("core/keys/a.cc", '"broker/hub/hub.h"'),
    ("core/wire/a.cc", "<openssl/evp.h>"),
    ("core/cert/a.cc", "<thread>"),
    ("broker/hub/a.cc", '"agent/sessions/table.h"'),
    ("broker/hub/a.cc", '"plugins/sqlite/driver.h"'),
    ("agent/sessions/a.cc", '"broker/hub/hub.h"'),
    ("agent/sessions/a.cc", '"plugins/sdk/store.h"'),
    ("agent/helper/main.cc", '"core/keys/public_key.h"'),
    ("agent/helper/main.cc", '"agent/sessions/table.h"'),
    ("agent/helper/main.cc", "<boost/asio.hpp>"),
    ("pam/module.cc", '"core/cert/certificate.h"'),
    ("pam/module.cc", "<openssl/evp.h>"),
    ("pam/module_test.cc", '"agent/sessions/table.h"'),
    ("plugins/totp/totp.cc", '"broker/plugin_host/loader.h"'),
    ("plugins/totp/totp.cc", '"plugins/sqlite/driver.h"'),
    ("cli/main.cc", '"broker/desk/user.h"'),
])
def test_a_wrong_arrow_is_refused(tmp_path, path, include):
    code, out = run("arrows", tmp_path, **{path: f"{SPDX}\n#include {include}\n"})
    assert code == 1
    assert out.startswith(f"{path}:3: ")
    assert include.strip('"<>') in out


@pytest.mark.parametrize("path, include", [
    ("core/wire/a.h", '"core/base/bytes.h"'),
    ("core/posix/a.cc", "<sys/socket.h>"),
    ("core/keys/a.cc", "<openssl/evp.h>"),
    ("core/base/a_test.cc", "<thread>"),
    ("broker/hub/a.cc", '"plugins/sdk/store.h"'),
    ("broker/hub/a.cc", '"core/cert/certificate.h"'),
    ("broker/hub/a.cc", "<boost/asio.hpp>"),
    ("agent/helper/main.cc", '"core/posix/stream.h"'),
    ("pam/module.cc", '"core/protocol/local.h"'),
    ("pam/module.cc", "<security/pam_modules.h>"),
    ("plugins/totp/totp.cc", '"plugins/totp/code.h"'),
    ("plugins/totp/totp.cc", '"plugins/sdk/factor.h"'),
    ("cli/main.cc", '"core/base/result.h"'),
    ("tests/fuzz/wire.cc", '"broker/hub/hub.h"'),
])
def test_a_right_arrow_passes(tmp_path, path, include):
    assert run("arrows", tmp_path, **{path: f"{SPDX}\n#include {include}\n"}) == (0, "")


def test_an_include_written_from_its_own_folder_is_refused(tmp_path):
    code, out = run("arrows", tmp_path, **{"core/wire/a.h": SPDX, "core/wire/b.cc": '#include "a.h"\n'})
    assert code == 1
    assert "from the top of the tree" in out


@pytest.mark.parametrize("text", ["see `core/gone.h`", "see `core/base/x*.h`", "run `core/gone --quick`",
                                  "[there](gone.md)", "see `core/base/a.h:3` and `core/gone/`"])
def test_a_document_that_names_a_gone_path_is_refused(tmp_path, text):
    code, out = run("paths", tmp_path, **{"core/base/a.h": SPDX, "README.md": f"# A\n\n{text}\n"})
    assert code == 1
    assert out.startswith("README.md:3: ")


@pytest.mark.parametrize("text", ["see `core/base/a.h:3`, `core/base/` and `core/*/a.h`", "a type `text/plain`",
                                  "[here](core/base/a.h) and [there](https://example.org/gone)",
                                  "in `/etc/gone` or `$HOME/gone`", "```\ncore/gone.h\n```"])
def test_a_document_that_names_what_is_there_passes(tmp_path, text):
    assert run("paths", tmp_path, **{"core/base/a.h": SPDX, "README.md": f"# A\n\n{text}\n"}) == (0, "")


@pytest.mark.parametrize("path, text", [("core/a.cc", "#pragma once\n" + SPDX), ("tests/go", "#!/bin/bash\nexit\n"),
                                        ("core/a.h", "// SPDX-License-Identifier: MIT\n")])
def test_a_source_without_its_licence_line_is_refused(tmp_path, path, text):
    code, out = run("licences", tmp_path, **{path: text})
    assert (code, out.split(":")[0]) == (1, path)


@pytest.mark.parametrize("path, text", [("core/a.cc", SPDX), ("README.md", "# A\n"), ("build/a.cc", ""),
                                        ("tests/go", "#!/bin/bash\n# SPDX-License-Identifier: Apache-2.0\n")])
def test_a_source_with_its_licence_line_passes(tmp_path, path, text):
    assert run("licences", tmp_path, **{path: text}) == (0, "")
