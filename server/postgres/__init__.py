"""Storage and work shared by several hosts, over one PostgreSQL database. Imported only where DATABASE_URL is set."""
