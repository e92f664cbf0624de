"""The demo: generated tasks whose effect on the target is known, and runs that compare methods on them."""
