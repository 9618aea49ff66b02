"""Draws what script/bench measured into docs/plots/.

Usage: plots.py load LOAD.tsv OPEN.tsv | plots.py scale SCALE.tsv
"""

import sys
from collections import defaultdict
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

plt.rcParams.update({"svg.hashsalt": "ally360", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3,
                     "axes.spines.top": False, "axes.spines.right": False, "figure.figsize": (9, 3.4)})
FOLDER = Path("docs/plots")


def rows(path, separator=None):
    return [line.split(separator) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def save(figure, name):
    FOLDER.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(FOLDER / f"{name}.svg", metadata={"Date": None})


def load(closed, opened):
    by_case = defaultdict(list)
    for case, clients, rate, floor, p50, p99 in rows(closed):
        by_case[case].append((int(clients), float(rate) / float(floor), float(p50), float(p99)))
    figure, (ratio, latency) = plt.subplots(1, 2)
    for case, points in by_case.items():
        clients = [str(point[0]) for point in points]
        ratio.plot(clients, [point[1] for point in points], marker="o", label=case)
        line = latency.plot(clients, [point[2] for point in points], marker="o", label=case)
        latency.plot(clients, [point[3] for point in points], marker=".", linestyle=":", color=line[0].get_color())
    ratio.set(title="Requests per second, as a share of the floor", xlabel="clients", ylim=0)
    latency.set(title="p50, and p99 dotted", xlabel="clients", ylabel="ms", yscale="log")
    ratio.legend(frameon=False)
    save(figure, "load")

    points = [tuple(map(float, row)) for row in rows(opened)]
    figure, axis = plt.subplots(figsize=(5, 3.4))
    axis.plot([point[0] for point in points], [point[2] for point in points], marker="o", label="p50")
    axis.plot([point[0] for point in points], [point[3] for point in points], marker="o", label="p99")
    axis.set(title="The list under an open loop", xlabel="offered, % of the closed loop's rate", ylabel="ms", yscale="log")
    axis.legend(frameon=False)
    save(figure, "open-loop")


def scale(measured):
    by_case = defaultdict(list)
    for size, case, figures in rows(measured, "\t"):
        _, p50, p99 = map(float, figures.split())
        by_case[case].append((size.replace(" products in one", "\nproducts").replace(" companies", "\ncompanies"), p50 / 1e3, p99 / 1e3))
    figure, axes = plt.subplots(1, len(by_case), sharey=True, figsize=(10, 3.4))
    for axis, (case, points) in zip(axes, by_case.items()):
        sizes = [point[0] for point in points]
        axis.bar(sizes, [point[2] for point in points], label="p99", color="#c9d4e5")
        axis.bar(sizes, [point[1] for point in points], label="p50", color="#30507c")
        axis.set_title(case)
        axis.tick_params(axis="x", labelsize=6)
    axes[0].set_ylabel("ms")
    axes[0].legend(frameon=False)
    save(figure, "scale")


{"load": load, "scale": scale}[sys.argv[1]](*sys.argv[2:])
