"""The gateway speaks HTTP: wishes in, rows out. It sees the kernel's ports and aiohttp, and no technology behind a port."""
