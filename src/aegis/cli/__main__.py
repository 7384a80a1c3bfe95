"""`python -m aegis.cli`: the command line where no script is installed."""

from aegis.cli.main import main

main()
