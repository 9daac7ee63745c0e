"""The gateway speaks HTTP: commands in, rows out. It sees the kernel's ports and aiohttp, and no technology behind a port."""
