"""The commands of `python -m experiments`: each module has `add_arguments` and `main`; no library imports them."""
