"""The front door: command line, run configuration, pipeline and report."""
