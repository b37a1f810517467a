# SPDX-License-Identifier: Apache-2.0
"""What a broker tells Prometheus, read strictly: text format 0.0.4 and the naming conventions."""

import math
import re
import urllib.request
from dataclasses import dataclass, field

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,(?=.)|$)')
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
UNITS = ("_milliseconds", "_micros", "_minutes", "_kilobytes", "_percent")


@dataclass
class Family:
    name: str
    help: str
    kind: str = ""
    samples: dict = field(default_factory=dict)  # (name, ((label, value), …)) -> value

    def sum(self, **labels):
        """Of all samples with these labels; of a histogram: of its count."""
        name = self.name + ("_count" if self.kind == "histogram" else "")
        return sum(value for (sample, pairs), value in self.samples.items()
                   if sample == name and labels.items() <= dict(pairs).items())


def scrape(port):
    """The families of a broker on this machine, by name."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        assert answer.headers["Content-Type"] == CONTENT_TYPE
        return parse(answer.read().decode())


def parse(text):
    """Families by name; AssertionError with the line for anything that the format or the conventions do not allow."""
    assert text.endswith("\n")
    families, current = {}, None
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name, _, words = line.removeprefix("# HELP ").partition(" ")
            assert NAME.fullmatch(name) and words and name not in families, line
            current = families[name] = Family(name, words)
        elif line.startswith("# TYPE "):
            name, _, kind = line.removeprefix("# TYPE ").partition(" ")
            assert current and name == current.name and not current.kind and not current.samples, line
            assert kind in ("counter", "gauge", "histogram"), line
            current.kind = kind
        else:
            _take_sample(current, line)
    for family in families.values():
        _check(family)
    return families


def _take_sample(family, line):
    match = SAMPLE.fullmatch(line)
    assert match and family and family.kind, line
    name, inner, value = match.groups()
    parts = ("_bucket", "_sum", "_count") if family.kind == "histogram" else ("",)
    assert name in [family.name + part for part in parts], line
    labels, at = [], 0
    while inner and at < len(inner):
        label = LABEL.match(inner, at)
        assert label, line
        labels.append(label.groups())
        at = label.end()
    assert len(dict(labels)) == len(labels), line
    key = (name, tuple(sorted(labels)))
    assert key not in family.samples, f"twice: {line}"
    family.samples[key] = float(value.replace("Inf", "inf"))


def _check(family):
    assert family.kind and family.samples, f"{family.name} has no type or no sample"
    assert (family.kind == "counter") == family.name.endswith("_total"), family.name
    assert not family.name.endswith(UNITS), family.name
    for (name, labels), value in family.samples.items():
        assert not math.isnan(value) and (family.kind == "gauge" or value >= 0), (name, labels, value)
    if family.kind == "histogram":
        _check_histogram(family)


def _check_histogram(family):
    buckets = {}
    for (name, labels), value in family.samples.items():
        if name == family.name + "_bucket":
            others = tuple(pair for pair in labels if pair[0] != "le")
            buckets.setdefault(others, []).append((float(dict(labels)["le"].replace("Inf", "inf")), value))
    for others, steps in buckets.items():
        bounds = [bound for bound, _ in steps]
        counts = [count for _, count in steps]
        assert bounds == sorted(set(bounds)) and bounds[-1] == math.inf, family.name
        assert counts == sorted(counts), family.name
        assert counts[-1] == family.samples[family.name + "_count", others], family.name
        assert (family.name + "_sum", others) in family.samples, family.name
