"""`python -m aegis.cli`, the same as `aegis`."""

from aegis.cli.entry import main

main()
