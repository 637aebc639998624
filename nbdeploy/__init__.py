"""From a fitted model in a notebook to a running, versioned service."""
