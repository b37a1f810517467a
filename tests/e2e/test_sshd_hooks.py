# SPDX-License-Identifier: Apache-2.0
"""packaging/agent/sshd-hooks on this machine's own sshd and PAM files, in an overlay of /etc that is forgotten: what it
writes, and what it leaves whole when something fails. With logins, in a VM: test_packages.py."""

import os
import subprocess

import pytest
from support.build import REPOSITORY

# /etc as it is, on a disk of half a megabyte; no systemd, so that nothing is reloaded.
STAGE = """set -eu
mount -t tmpfs -o size=512k lk-test "$1"
mkdir "$1/upper" "$1/work" "$1/run"
mount -t overlay lk-test -o "lowerdir=/etc,upperdir=$1/upper,workdir=$1/work" /etc
if [ -d /run/systemd ]; then mount --bind "$1/run" /run/systemd; fi
rm -f /etc/ssh/sshd_config.d/* /etc/pam.d/sshd-*
mkdir -p /etc/latchkey /etc/ssh/sshd_config.d /run/sshd
printf 'Include /etc/ssh/sshd_config.d/*.conf\\nUsePAM yes\\n' >/etc/ssh/sshd_config
cp "$2/packaging/agent/sshd.conf" /etc/latchkey/
[ -s /etc/ssh/ssh_host_ed25519_key ] || ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
printf '%s\\n' 'account required pam_permit.so' '@include common-account' '@include common-session' >/etc/pam.d/sshd
hooks() { "$2/packaging/agent/sshd-hooks" "$1" 2>&1 || echo "status $?"; }
"""


@pytest.fixture
def stage(tmp_path):
    """stage(script): what it prints. In it `hooks on "$2"` runs sshd-hooks, and prints "status N" where it fails."""
    folder = tmp_path / "stage"
    folder.mkdir()

    def run(script):
        done = subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-c", STAGE + script, "stage", folder,
                               REPOSITORY], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=60)
        if done.returncode and "mount" in done.stderr and not os.environ.get("LATCHKEY_REQUIRE_LAB"):
            pytest.skip("nothing can be mounted here")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_they_put_us_in_and_take_us_out(stage):
    said = stage("""
        hooks on "$2"; hooks on "$2"
        grep -c pam_latchkey /etc/pam.d/sshd
        /usr/sbin/sshd -T | grep -i ^authorizedkeyscommand
        hooks off "$2"
        grep -c pam_latchkey /etc/pam.d/sshd || true
        ls /etc/ssh/sshd_config.d /etc/pam.d | grep -i latchkey || echo none left""")
    assert said.splitlines() == ["2", "authorizedkeyscommand /usr/libexec/latchkey/latchkey-authorized-keys %u %t %k %f",
                                 "authorizedkeyscommanduser latchkey-akc", "0", "none left"]


def test_on_a_full_disk_every_file_stays_whole(stage):
    said = stage("""
        full() { cat /dev/zero >"$1/filler" 2>/dev/null || true; }
        cp /etc/pam.d/sshd "$1/before"
        full "$1"; hooks on "$2"; cmp /etc/pam.d/sshd "$1/before" && echo same
        rm "$1/filler"; hooks on "$2" >/dev/null; cp /etc/pam.d/sshd "$1/before"
        full "$1"; hooks off "$2"; cmp /etc/pam.d/sshd "$1/before" && echo same
        ls /etc/pam.d | grep latchkey || echo nothing left""")
    assert said.count("/etc/pam.d/sshd cannot be written and stays as it was") == 2, said
    assert said.count("status 1") == 2 and said.count("same") == 2 and "nothing left" in said, said


def test_lines_that_doctor_took_out_are_in_effect_again_where_sshd_takes_them(stage):
    mark = "# Latchkey asks first; taken out by latchkey-agent doctor: "
    said = stage(f"""
        own=/etc/ssh/sshd_config.d/50-own.conf
        printf '{mark}AuthorizedKeysCommand /usr/bin/own %%u\\n{mark}AuthorizedKeysCommandUser nobody\\n' >$own
        bad=/etc/ssh/sshd_config.d/60-bad.conf
        echo '{mark}AuthorizedKeysCommand not/absolute' >$bad
        hooks on "$2"; hooks off "$2"
        /usr/sbin/sshd -T | grep -i ^authorizedkeyscommand
        cat $bad; ls /etc/ssh/sshd_config.d""")
    assert "authorizedkeyscommand /usr/bin/own %u" in said and "authorizedkeyscommanduser nobody" in said
    assert f"{mark}AuthorizedKeysCommand not/absolute" in said and "sshd refuses the lines" in said
    assert said.split()[-2:] == ["50-own.conf", "60-bad.conf"], said


def test_a_configuration_that_does_not_read_ours_is_said(stage):
    said = stage("""
        echo 'UsePAM yes' >/etc/ssh/sshd_config
        hooks on "$2"; hooks on "$2"; /usr/sbin/sshd -t && echo sound""")
    assert said.count("does not include it; run: latchkey-agent doctor") == 1 and said.count("status 1") == 1, said
    assert "sound" in said
