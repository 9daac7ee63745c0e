"""The write side at work: batches of commands become events and outcomes.

The bus hands `Executor.execute` what waited on the lanes this process holds; the executor decides it and appends it through the
EventStore port; when it returns, everything is committed and the bus may settle with the broker.
"""
