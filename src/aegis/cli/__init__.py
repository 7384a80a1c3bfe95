"""The command line: tables for people, `--json` for programs.

Invariant: the modules here import click and nothing heavier; a command imports what it works with
when it runs. Standard output holds the result alone, everything else goes to standard error.
"""
