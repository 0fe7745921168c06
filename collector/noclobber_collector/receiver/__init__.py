"""The receiver: OTLP over gRPC and HTTP, acknowledged once it is on disk.

It is a process of its own without ClickHouse in it: small, never busy, and it goes on acknowledging while the store is
down, slow or being upgraded.
"""
