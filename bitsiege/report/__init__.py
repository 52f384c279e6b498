"""What a run found: a JSON file for machines and one self-contained HTML page for people."""
