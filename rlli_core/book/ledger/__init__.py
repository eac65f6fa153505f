"""The claims of the paper, checked on recorded numbers, and the pages that show the verdicts."""
