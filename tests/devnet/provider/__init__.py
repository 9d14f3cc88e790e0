"""The provider on a real socket, asked by the official SDK and, where that hides too much, by aiohttp."""
