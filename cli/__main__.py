"""`python -m cli`: the lbctl command of this very interpreter."""

from cli.main import main

main()
