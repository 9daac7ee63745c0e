"""How anything follows the log: pages read once for all who follow, and a subscription that takes its turns over them."""
