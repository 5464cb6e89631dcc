"""From evidence to a diagnosis: probes collect, the ledger adds up, rules judge."""
