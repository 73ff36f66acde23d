"""Runs the contestants one after another before one authority, and writes what came out: `run` calls this.

    compare.py DIRECTORY-OF-BINARIES PYTHON ENTRIES
"""

import datetime
import json
import math
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
DOCUMENT = HERE / "../../docs/performance.md"
PLOT = HERE / "../../docs/plots/peers.svg"
STARTS = 11
HERD = 1_000
TIMEOUT_SECONDS = 900


def main():
    binaries, python, entries = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    contestants = {
        "Symbolon": [binaries / "symbolon-peer"],
        "azure_identity (Rust)": [binaries / "azure-identity-peer"],
        "MSAL Python": [python, HERE / "python/contestant.py", "msal"],
        "azure-identity (Python)": [python, HERE / "python/contestant.py", "azure-identity"],
        "MSAL Node": ["node", "--expose-gc", "--max-old-space-size=8192", HERE / "node/contestant.js"],
    }
    with tempfile.TemporaryDirectory() as directory:
        site = pathlib.Path(directory) / "site.json"
        environment = {**os.environ, "PEERS_SITE": str(site)}
        rows = {}
        for measure in measures(entries):
            # A fresh one for each, which has no memory of what others asked.
            with Authority(binaries, site) as authority:
                environment["NODE_EXTRA_CA_CERTS"] = authority.site["caPath"]
                for name, command in contestants.items():
                    for what, value in measure(Contestant(command, environment, authority)).items():
                        rows.setdefault(what, {})[name] = value
                        print(f"{name:<24} {what:<42} {shown(what, value)}", flush=True)
    table = markdown(rows, list(contestants))
    print("\n" + table)
    write(table, versions(binaries, python))
    PLOT.parent.mkdir(exist_ok=True)
    PLOT.write_text(svg(rows, list(contestants)), encoding="utf-8")


def measures(entries):
    def start(it):
        walls = []
        for _ in range(STARTS):
            began = time.perf_counter()
            it.run("start")
            walls.append((time.perf_counter() - began) * 1e9)
        return {"start to first token": statistics.median(walls)}

    def cold(it):
        kinds = {"secret": "cold acquisition, secret", "certificate": "cold acquisition, certificate"}
        return {what: it.run("cold", kind)["cpuNanos"] for kind, what in kinds.items()}

    def herd(it):
        before = it.authority.token_requests()
        it.run("herd", HERD)
        return {f"requests for {HERD:,} identical calls": it.authority.token_requests() - before}

    def cached(it):
        return {"cached call, 1 entry": it.run("cached", 1)["cpuNanos"]}

    def full(it):
        result = it.run("cached", entries)
        return {
            f"cached call, {entries:,} entries": result["cpuNanos"],
            f"memory of a token of 1.4 kB, of {entries:,}": result["bytes"],
        }

    return [start, cold, herd, cached, full]


class Authority:
    """The authority, in a process of its own."""

    def __init__(self, binaries, site):
        self.process = subprocess.Popen(
            [binaries / "symbolon-peer", "authority"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.site = json.loads(self.process.stdout.readline())
        site.write_text(json.dumps(self.site), encoding="utf-8")

    def token_requests(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())["tokenRequests"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


class Contestant:
    def __init__(self, command, environment, authority):
        self.command, self.environment, self.authority = command, environment, authority

    def run(self, *arguments):
        command = [str(part) for part in [*self.command, *arguments]]
        # Cached calls of another one at the same time would be in the way.
        done = subprocess.run(
            command, env=self.environment, stdout=subprocess.PIPE, text=True, timeout=TIMEOUT_SECONDS, check=True
        )
        return json.loads(done.stdout.splitlines()[-1])


def shown(what, value):
    if what.startswith("requests"):
        return f"{value:,}"
    if what.startswith("memory"):
        return f"{value / 1e3:.2f} kB"
    for unit, size in [("s", 1e9), ("ms", 1e6), ("µs", 1e3)]:
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f} ns"


def ratio_shown(ratio):
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"


def markdown(rows, names):
    lines = ["| | " + " | ".join(names) + " |", "|" + " --- |" * (len(names) + 1)]
    for what, values in rows.items():
        ours = values[names[0]]
        cells = [shown(what, ours)]
        for name in names[1:]:
            ratio = values[name] / ours if ours else math.nan
            cells.append(f"{shown(what, values[name])} ({ratio_shown(ratio)}x)")
        lines.append(f"| {what} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def versions(binaries, python):
    lock = (HERE / "Cargo.lock").read_text(encoding="utf-8")
    rust = re.search(r'name = "azure_identity"\nversion = "([^"]+)"', lock).group(1)
    pip = dict(line.split("==") for line in (HERE / "python/requirements.txt").read_text().split())
    node = json.loads((HERE / "node/package.json").read_text())["dependencies"]["@azure/msal-node"]
    say = lambda *command: subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    processor = next(
        (line.split(":")[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8") if line.startswith("model name")),
        platform.processor(),
    )
    memory = int(re.search(r"MemTotal:\s+(\d+)", open("/proc/meminfo", encoding="utf-8").read()).group(1))
    return (
        f"{datetime.date.today()}, {os.cpu_count()} processors ({processor}), {memory / 1e6:.0f} GB, {platform.system()} "
        f"{platform.machine()}; load {os.getloadavg()[1]:.1f}. azure_identity {rust}, MSAL Python {pip['msal']}, "
        f"azure-identity {pip['azure-identity']} on {say(python, '--version')}, MSAL Node {node} on Node "
        f"{say('node', '--version')}."
    )


def write(table, machine):
    text = DOCUMENT.read_text(encoding="utf-8")
    begin, end = "<!-- peers -->", "<!-- end of peers -->"
    before, rest = text.split(begin)
    _, after = rest.split(end)
    DOCUMENT.write_text(f"{before}{begin}\n{table}\n\n{machine}\n{end}{after}", encoding="utf-8")


def svg(rows, names):
    """A panel of bars for each row, on a logarithmic scale."""
    width, bar, label = 720, 16, 190
    colors = ["#0b6e4f", "#8a8d91", "#a7aaad", "#c4c6c8", "#dadbdc"]
    height = sum(34 + bar * len(names) for _ in rows) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    top = 20
    for what, values in rows.items():
        parts.append(f'<text x="10" y="{top}" font-weight="bold">{what}</text>')
        # Whatever is least has a bar of a tenth of the longest one.
        low, high = min(values.values()), max(values.values())
        span = math.log10(high / low) if high > low else 1
        for i, name in enumerate(names):
            y = top + 8 + i * bar
            share = 0.1 + 0.9 * (math.log10(values[name] / low) / span if high > low else 0)
            length = share * (width - label - 110)
            parts.append(f'<text x="{label - 6}" y="{y + 11}" text-anchor="end">{name}</text>')
            parts.append(f'<rect x="{label}" y="{y}" width="{length:.1f}" height="{bar - 4}" fill="{colors[i]}"/>')
            parts.append(f'<text x="{label + length + 6:.1f}" y="{y + 11}">{shown(what, values[name])}</text>')
        top += 34 + bar * len(names)
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    main()
