"""`python -m v2a`, which is what `torchrun -m v2a` starts in every process."""

from v2a.cli import main

main()
