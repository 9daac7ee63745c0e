"""Everything that proves the house: unit, contract, system, guards, browser, and the servers they run against."""
