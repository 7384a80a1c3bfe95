"""Run one benchmark: `python -m benchmarks NAME … [--json]`.

A benchmark is a module here with `add_arguments(parser)` and `run(args)`, which returns the figures
by name, or an `Outcome` where there is more to say; its name is the module's. `run` prints nothing
on standard output: progress goes to standard error.
"""

from __future__ import annotations

import argparse
import importlib
import sys

from aegis.errors import AegisError
from benchmarks.report import Report, print_report

#: Name of the module and of the benchmark, with what it answers.
BENCHMARKS = {
    "retrieval": "recall@k and MRR on labelled conversations",
    "recall": "latency of hybrid, vector and text recall at N episodes",
    "change": "a change of the embedding model, and recall during it, against a plain UPDATE",
    "nightly": "consolidation, audit and forgetting at N episodes, against one plain pass",
    "ingest": "episodes a second, against a raw COPY",
    "start": "cold and warm start, memory, the whole command",
    "hook": "a whole process of `aegis hook`, database up and down",
    "nab": "anomaly detection on labelled series, scored as NAB does; points a second",
    "metrics": "samples of containers in, roll-ups, charts, retention at N rows",
    "collector": "processor time and memory of measuring and watching N containers",
    "audit_log": "what the audit log costs changes at once; rows of it verified a second",
    "alerts": "what detection costs, messages sent a second, from a bad sample to its message",
    "keys": "verified calls a second, and their limits, against plain SQL",
    "usage": "events written a second, what metering adds to a call, dropping a month",
    "billing": "a month of invoices for N customers and M events",
    "worker": "jobs claimed and finished a second, against procrastinate; waking, idling, history",
    "workflows": "durable steps a second beside DBOS, the next step, a long history",
    "intel": "unchanged pages checked a second, and changes found and not found in a corpus",
    "backup": "backups and restores against plain pg_dump and pg_restore; damage that is found",
    "crashes": "kill -9 at random points of create, push, verify, restore, upgrade",
    "doctor": "all checks on N tables and M gigabytes, and the slowest statement of them",
}


def main(argv: list[str] | None = None) -> int:
    """Parse, run, print; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="name", required=True, metavar="NAME")
    argv = sys.argv[1:] if argv is None else argv
    for name, summary in BENCHMARKS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        command.add_argument("--json", action="store_true", help="print one JSON object")
        # Only the benchmark that was asked for is imported: the others may need more.
        if name in argv:
            importlib.import_module(f"benchmarks.{name}").add_arguments(command)
    args = parser.parse_args(argv)
    try:
        found = importlib.import_module(f"benchmarks.{args.name}").run(args)
    except AegisError as error:
        print(f"{parser.prog} {args.name}: {error} [{error.code}]", file=sys.stderr)
        return 2
    print_report(Report.of(args.name, found), as_json=args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
