"""The diffusion chain, cut between a server and its devices."""
