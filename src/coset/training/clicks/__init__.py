"""Training of click models: settings, loop, metrics, and runs that continue at the exact sample."""
