"""The table of the LeNet300 experiment."""

from __future__ import annotations

from .results import Results


def table(results: Results) -> str:
    """Return the networks as a table in Markdown."""
    dense = results.networks[0]
    layers = list(results.histories[0].steps[0].ranks) if results.histories else []
    rows = [
        "| λ | ranks chosen by | ranks | MACs | weights and biases | top-1 error, before fine-tuning | at the end |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in results.networks:
        ranks = ", ".join(str(one.ranks.get(layer, "dense")) for layer in layers) if one.ranks else "dense"
        before = "" if one.error_before is None else f"{one.error_before:.2f} %"
        times = "" if one is dense else f" (÷ {dense.macs / one.macs:.1f})"
        lambda_ = "" if one.lambda_ is None else f"{one.lambda_:g}"
        rows.append(
            f"| {lambda_} | {one.method} | {ranks} | {one.macs:,}{times} | {one.storage:,} | {before} | "
            f"{one.error:.2f} % |"
        )
    return "\n".join(rows) + "\n"
