"""The read side: projectors follow the log and fold it into rows, view stores keep the rows and answer questions about them."""
