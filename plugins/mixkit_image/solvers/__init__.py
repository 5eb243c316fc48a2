"""Solvers on grids of cells, batched over images: exact masks, the transport, labellings. No method lives here."""
