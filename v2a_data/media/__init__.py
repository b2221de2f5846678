"""The only code that touches media bytes.

`client.MediaChild` is the way in for everyone else: it starts `child` as a subprocess with limits
and asks it to `probe` a file, `tap` it for the scorers, `cut` clips out of it, or hand out frames
for a model. Everything that decodes runs in that child. `limits` says what a file may be, `confine` what
its reader may do to the machine.
"""
