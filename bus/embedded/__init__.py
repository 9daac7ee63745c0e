"""The bus within one process: publisher and transport over a durable table, and a bell of callbacks."""
