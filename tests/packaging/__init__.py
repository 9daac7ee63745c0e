"""What is installed, seen from outside the repository: built without a network, in environments and folders of their own."""
