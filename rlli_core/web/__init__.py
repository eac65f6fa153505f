"""The embedded text-to-image model in the reader's own browser: what the built book ships for it."""
