"""History in, findings out: what the accesses of several agents to shared state show when they are laid side by side.

`history` decodes, `order` says what came before what, `detectors` hold one small function for each kind, `evaluate`
brings them together. The meaning of every kind stands in its detector's docstring.
"""
