"""What acts without a kernel: the models exported for the reader's own browser, and pictures worked out beforehand."""
