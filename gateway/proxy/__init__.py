"""Several gateways behind one port. Not on any command's way where one gateway is enough."""
