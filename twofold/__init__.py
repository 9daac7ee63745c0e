"""The roof: settings, wiring, command line. The only room that sees all others; imported by none of them."""

VERSION = "0.1.0"
