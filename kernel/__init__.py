"""The words of the house: messages, deciders, views, outcomes and the ports between rooms. Standard library and msgspec only."""
