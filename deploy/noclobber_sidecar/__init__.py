"""The sidecar as people run it: `noclobber up`, `demo` and `doctor`.

The parts know their own work; this package puts them together into processes: a supervisor, a receiver that
acknowledges what is on disk, and an engine that holds the embedded store. It stands above all parts and none of
them imports it.
"""
