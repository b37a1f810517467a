# SPDX-License-Identifier: Apache-2.0
"""A VM of the lab that boots from an image of packaging/image, with nothing of the lab's own in it."""

from pathlib import Path

from .lab import LabVm

HOOK = Path(__file__).parent / "image_hook"


class ImageVm(LabVm):
    """`files`: path in the VM -> text, root's and 0600. `credentials`: name -> text, as systemd hands them over."""

    def __init__(self, place, lab, image, files=None, credentials=None):
        super().__init__(place, lab, agent=False)
        self.image = image
        self.files = files or {}
        self.credentials = credentials or {}

    def start(self):
        tree = self.place.folder(f"tree-{self.name}")
        for name, text in self.files.items():
            path = tree / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            path.chmod(0o600)
        return self.boot({
            "VMLAB_ROOT": str(self.image), "VMLAB_HOOK": str(HOOK), "LATCHKEY_LAB_TREE": str(tree),
            "VMLAB_NSPAWN": " ".join(f"--set-credential={name}:{text}" for name, text in self.credentials.items())})
