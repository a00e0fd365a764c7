"""Search spaces: the choices of each kind of model, the registry of spaces, and recipes to try first."""
