"""`python -m v2a_data` is `v2a-data`."""

from v2a_data.cli import main

main()
