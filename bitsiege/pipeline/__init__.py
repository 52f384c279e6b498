"""The whole job as steps whose results are kept, keyed by the hash of what they depend on."""
