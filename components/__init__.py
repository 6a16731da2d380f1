"""dotfield: counters trained together with the density maps they learn from.

The folders read in the order in which the data flows: datasets, density_maps, counters and losses, training,
evaluation, publish. A file imports only from rungs below its own (`.importlinter`)."""
