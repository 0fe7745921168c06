"""OTLP in, ClickHouse out: receives spans, makes them durable, loads them, and checks that they are there."""
