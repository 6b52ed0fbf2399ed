"""Programs that run in a fresh process and know nothing but an exported folder."""
