"""What runs notebooks: their parameters, Papermill, sweeps, records, checksums."""
