"""Half-space trees of `river`, as its documentation runs them: each value is judged, then learned.

Reads series as JSON lines, `{"values": […]}`, and answers each with `{"scores": […]}`.
"""

# pyright: reportMissingImports=false
# The package is in the peers' environment, not in Aegis's.

from __future__ import annotations

import json
import sys

from river import anomaly, preprocessing


def main() -> None:
    for line in sys.stdin:
        model = preprocessing.MinMaxScaler() | anomaly.HalfSpaceTrees(seed=1)
        scores: list[float] = []
        for value in json.loads(line)["values"]:
            scores.append(float(model.score_one({"value": value})))
            model.learn_one({"value": value})
        print(json.dumps({"scores": scores}), flush=True)


main()
