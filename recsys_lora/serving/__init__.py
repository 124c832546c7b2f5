"""A finished run behind HTTP: routes, micro-batches, limits, metrics, and a page."""
