"""Taking videos out of a workspace for good: nothing that names them stays, and a salted hash refuses them later."""
