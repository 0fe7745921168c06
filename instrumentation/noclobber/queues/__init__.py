"""Message queues and brokers."""
