"""Everything that computes a dataflow graph: reference, emulator, RTL, boards."""
