"""Vector search: which windows of the catalog are most like a hum's windows."""
